//! The pages of `docs/`: their code blocks run as doc tests, and what they state of options, callbacks, reasons and sizes
//! is compared with the code.

/// What a reader may copy has been run.
#[cfg(doctest)]
mod code_blocks {
    #![doc(test(attr(deny(warnings), allow(dead_code))))]

    #[doc = include_str!("../../docs/life-of-a-connection.md")]
    struct LifeOfAConnection;

    #[doc = include_str!("../../docs/threads-order-and-handle.md")]
    struct ThreadsOrderAndHandle;

    #[doc = include_str!("../../docs/back-pressure-and-closing.md")]
    struct BackPressureAndClosing;

    #[doc = include_str!("../../docs/websocket-and-tls.md")]
    struct WebSocketAndTls;
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use wheelhouse::{Action, Listener, OPTIONS, OptionInfo, Refusal, Sent};

    use crate::{Bench, Script, one_listener};

    const LIFE: &str = include_str!("../../docs/life-of-a-connection.md");
    const THREADS: &str = include_str!("../../docs/threads-order-and-handle.md");
    const PRESSURE: &str = include_str!("../../docs/back-pressure-and-closing.md");
    const SOCKETS: &str = include_str!("../../docs/websocket-and-tls.md");
    const MEMORY: &str = include_str!("../../docs/memory.md");
    const PAGES: [(&str, &str); 5] = [
        ("life-of-a-connection.md", LIFE),
        ("threads-order-and-handle.md", THREADS),
        ("back-pressure-and-closing.md", PRESSURE),
        ("websocket-and-tls.md", SOCKETS),
        ("memory.md", MEMORY),
    ];

    // ---- options

    /// A size or a time as the pages write it.
    fn words(unit: &str, number: u64) -> String {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        let units: &[(u64, &str)] = match unit {
            unit if unit.starts_with("bytes") => {
                &[(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")]
            }
            "ms" => &[(DAY, "days"), (1000, "s"), (1, "ms")],
            "us" => &[(1_000_000, "s"), (1000, "ms"), (1, "us")],
            _ => return with_commas(number),
        };
        let fits = |(size, _): &&(u64, &str)| number >= *size && number.is_multiple_of(*size);
        let (size, name) = units.iter().find(fits).unwrap_or(&(1, "B"));
        format!("{} {name}", with_commas(number / size))
    }

    fn with_commas(number: u64) -> String {
        let digits = number.to_string();
        let groups: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().map(|g| str::from_utf8(g).unwrap()).collect();
        groups.join(",")
    }

    fn row_of(option: &OptionInfo) -> String {
        let OptionInfo { name, unit, default, min, max, .. } = *option;
        let default = match (name, default) {
            ("reactors", _) => "one for each core".to_owned(),
            ("receive_buffer" | "send_buffer", None) => "the kernel's".to_owned(),
            (_, None) => "off".to_owned(),
            (_, Some(default)) => words(unit, default),
        };
        // The last unit says enough where both are of it: "1 to 256".
        let (least, most) = (words(unit, min), words(unit, max));
        format!("| `{name}` | {default} | {least} to {most} |")
    }

    /// The rows of a page's tables that are about an option.
    fn option_rows(page: &str) -> Vec<(&'static OptionInfo, &str)> {
        let rows = page.lines().filter_map(|line| {
            let name = line.strip_prefix("| `")?.split_once('`')?.0;
            let option = OPTIONS.iter().find(|option| option.name == name)?;
            Some((option, line))
        });
        rows.collect()
    }

    #[test]
    fn what_the_pages_say_of_options_is_what_they_are() {
        let mut wrong = Vec::new();
        for (name, page) in PAGES {
            for (option, row) in option_rows(page) {
                let right = row_of(option);
                if !row.starts_with(&right) {
                    wrong.push(format!("{name}: {row}\n  should begin {right}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_pages_know_every_deadline_and_every_bound_of_memory() {
        let missing = |page: &str, is_due: fn(&OptionInfo) -> bool| -> Vec<&str> {
            let known: Vec<&str> = option_rows(page).iter().map(|(option, _)| option.name).collect();
            let due = OPTIONS.iter().filter(|option| is_due(option) && !known.contains(&option.name));
            due.map(|option| option.name).collect()
        };
        let is_deadline = |option: &OptionInfo| {
            option.unit == "ms" && !option.name.starts_with("keep_alive") && option.name != "tcp_user_timeout"
        };
        assert_eq!(missing(LIFE, is_deadline), [""; 0], "deadlines");
        let is_of_memory = |option: &OptionInfo| option.unit.starts_with("bytes");
        let is_of_sockets = |option: &OptionInfo| {
            option.name.starts_with("deflate")
                || ["message", "frame", "fragments", "controls", "head", "headers"]
                    .iter()
                    .any(|what| option.name.strip_prefix("max_") == Some(what))
        };
        assert_eq!(missing(SOCKETS, is_of_sockets), [""; 0], "WebSockets");
        let sizes = missing(PRESSURE, is_of_memory);
        let of_connections: Vec<_> =
            sizes.iter().filter(|name| !option_rows(SOCKETS).iter().any(|(o, _)| o.name == **name)).collect();
        assert!(of_connections.is_empty(), "sizes: {of_connections:?}");
        let is_of_threads = |option: &OptionInfo| option.unit.contains("reactor") && option.name == "mailbox";
        assert_eq!(missing(THREADS, is_of_threads), [""; 0], "mailboxes");
    }

    #[test]
    fn sizes_and_times_are_written_as_people_do() {
        for (unit, number, text) in [
            ("ms", 2_073_600_000, "24 days"),
            ("ms", 60_000, "60 s"),
            ("ms", 100, "100 ms"),
            ("bytes per engine", 256 << 20, "256 MiB"),
            ("bytes per connection", 0, "0 B"),
            ("commands per reactor", 1 << 20, "1,048,576"),
            ("us", 1_000_000, "1 s"),
        ] {
            assert_eq!(words(unit, number), text);
        }
    }

    // ---- names

    /// The names in the code that a line's beginning introduces, up to a closing brace in the first column.
    fn names<'a>(source: &'a str, from: &str, pick: impl Fn(&'a str) -> Option<&'a str>) -> Vec<&'a str> {
        let body = source.split_once(from).expect("it is there").1;
        let names: Vec<&str> = body.lines().take_while(|line| *line != "}").filter_map(pick).collect();
        assert!(names.len() > 10, "{names:?}");
        names
    }

    fn identifier(text: &str) -> &str {
        text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    }

    #[test]
    fn every_close_reason_and_no_other_has_its_row() {
        let source = include_str!("../../crates/engine/src/close_reason.rs");
        let reasons = names(source, "pub enum CloseReason {\n", |line| {
            let name = identifier(line.strip_prefix("    ")?);
            name.starts_with(char::is_uppercase).then_some(name)
        });
        let table = LIFE.split_once("| reason | what brings it about |").unwrap().1;
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let told: Vec<&str> =
            rows.filter_map(|row| Some(row.strip_prefix("| `")?.split_once('`')?.0)).collect();
        assert_eq!(told, reasons, "in the order of the code");
    }

    #[test]
    fn every_callback_is_named() {
        let source = include_str!("../../crates/engine/src/handler.rs");
        let callbacks =
            names(source, "pub trait Handler", |line| Some(identifier(line.strip_prefix("    fn ")?)));
        for callback in callbacks {
            assert!(LIFE.contains(&format!("`{callback}`")), "{callback}");
        }
    }

    /// What is a number in the prose and no option: beside it, where the code has it.
    #[test]
    fn the_other_numbers_are_those_of_the_code() {
        let cork = include_str!("../../crates/engine/src/sub_reactor/cork.rs");
        let output = include_str!("../../crates/engine/src/protocol/output.rs");
        let builder = include_str!("../../crates/engine/src/builder.rs");
        let header = include_str!("../../crates/engine/src/proxy_protocol.rs");
        let sealed = include_str!("../../crates/engine/src/sub_reactor/sealed.rs");

        let storage = include_str!("../../crates/engine/src/sub_reactor/storage.rs");
        let connections = include_str!("../../crates/engine/src/connections.rs");
        let timers = include_str!("../../crates/wheel/src/entries.rs");
        let pool = include_str!("../../crates/ring/src/pool.rs");
        let rules = include_str!("../../crates/engine/src/rules.rs");
        let bounds = include_str!("../../crates/engine/src/sub_reactor/bounds.rs");
        for (page, prose, source, code) in [
            (PRESSURE, "A payload of 4 KiB and more", bounds, "const DIRECT: usize = 4 << 10;"),
            (PRESSURE, "The cork holds 64 KiB", cork, "const CORK: usize = 64 << 10;"),
            (PRESSURE, "`String` of 1 KiB and more", output, "const SHARE_FROM: usize = 1024;"),
            (PRESSURE, "up to 4 KiB beyond it", bounds, "const CONTROL_ROOM: usize = 4 << 10;"),
            (
                LIFE,
                "a PROXY header comes first, of up to 4 KiB",
                header,
                "pub(crate) const MAX_HEADER: usize = 4096;",
            ),
            (LIFE, "A turn that has lasted 1 ms", bounds, "const TURN: Duration = Duration::from_millis(1);"),
            (LIFE, "has 16 pieces more at most", bounds, "const PIECE: usize = 16;"),
            (
                SOCKETS,
                "have a budget** of 2 ms",
                sealed,
                "HANDSHAKE_BUDGET: Duration = Duration::from_millis(2);",
            ),
            (SOCKETS, "nothing for 25 s is pinged", rules, "every: Duration::from_secs(25)"),
            (SOCKETS, "nothing comes for 20 s more", rules, "timeout: Duration::from_secs(45)"),
            (MEMORY, "are in chunks of 4,096", connections, "const CHUNK_BITS: u32 = 12;"),
            (MEMORY, "timers in chunks of 1,024", timers, "const CHUNK_BITS: u32 = 10;"),
            (MEMORY, "16,384 slots looked at", connections, "const LOOKS: usize = 4 * CHUNK;"),
            (MEMORY, "256 opened", bounds, "const COMMANDS: usize = 256;"),
            (MEMORY, "512 sent to", bounds, "const SLICE: usize = 512;"),
            (MEMORY, "A second after a close", bounds, "TIDY_AFTER: Duration = Duration::from_secs(1);"),
            (MEMORY, "8 chunks of connections", bounds, "const CHUNKS_FREED: usize = 8;"),
            (MEMORY, "64 of timers in a turn", bounds, "const TIMER_CHUNKS_FREED: usize = 64;"),
            (MEMORY, "at most 128 in a turn", bounds, "const BURIALS: usize = 128;"),
            (MEMORY, "4 MiB of storage of large messages", bounds, "const MUCH: usize = 4 << 20;"),
            (MEMORY, "up to 64 queues", storage, "const SPARE_QUEUES: usize = 64;"),
            (MEMORY, "up to 1 MiB of blocks", pool, "const KEPT_BY_DEFAULT: usize = 1024 * 1024;"),
            (PRESSURE, "of at least 64 KiB", builder, "const MEMORY_PER_REACTOR: usize = 64 << 10;"),
        ] {
            let is_there = page.split_whitespace().collect::<Vec<_>>().join(" ").contains(prose);
            assert!(is_there, "{prose}");
            assert!(source.contains(code), "{code}, of which a page says: {prose}");
        }
        assert_eq!(wheelhouse::ConnId::MAX_KEYS, 1 << 24);
        assert!(THREADS.contains("2^24 connections"));
    }

    // ---- links

    /// The headings of a page, as a link names them.
    fn anchors(page: &str) -> Vec<String> {
        let headings =
            page.lines().filter_map(|line| Some(line.strip_prefix('#')?.trim_start_matches('#').trim()));
        let anchor = |heading: &str| -> String {
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
        };
        headings.map(anchor).collect()
    }

    #[test]
    fn every_link_leads_somewhere() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
        let mut links = 0;
        for (place, name, page) in PAGES
            .map(|(name, page)| (root.join("docs"), name, page))
            .into_iter()
            .chain([(root.clone(), "README.md", readme.as_str())])
        {
            for link in page.split("](").skip(1) {
                let link = link.split(')').next().unwrap();
                let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
                let path: PathBuf = if file.is_empty() { place.join(name) } else { place.join(file) };
                assert!(path.exists(), "{name}: {link}");
                links += 1;
                if !anchor.is_empty() {
                    let there = std::fs::read_to_string(&path).unwrap();
                    assert!(anchors(&there).iter().any(|heading| heading == anchor), "{name}: {link}");
                }
            }
            for example in page.split("`examples/").skip(1) {
                let file = root.join("examples").join(example.split('`').next().unwrap());
                assert!(file.exists(), "{name}: {}", file.display());
            }
        }
        assert!(links > 10, "{links}");
        for (page, _) in PAGES {
            assert!(readme.contains(&format!("(docs/{page})")), "the README leads to {page}");
        }
    }

    // ---- what no other test holds

    #[test]
    fn a_message_larger_than_the_limit_is_refused_by_an_empty_queue() {
        let listener = Listener::new("tcp://127.0.0.1:0").water_marks(1 << 10, 4 << 10, 16 << 10);
        let bench = Bench::start(one_listener(listener), |_| {
            Script::new().on_open(|conn, _| {
                assert_eq!(conn.buffered(), (0, 0));
                assert_eq!(conn.send(vec![0; (16 << 10) + 1]), Sent::Refused(Refusal::OverLimit));
                assert!(!conn.send(vec![0; 16 << 10]).is_refused());
                Action::Continue
            })
        });
        let (mut stream, id) = bench.connect();
        crate::read_exactly(&mut stream, 16 << 10);
        assert!(bench.ask(id, |conn, _| conn.is_open()));
    }

    #[test]
    fn what_on_data_left_is_not_offered_again_at_the_end() {
        use std::{io::Write, net::Shutdown};
        struct Leaves(std::sync::mpsc::Sender<String>);
        impl wheelhouse::Handler for Leaves {
            type Session = ();

            fn on_message(
                &mut self,
                _: &mut wheelhouse::Conn<'_>,
                _: &mut (),
                _: wheelhouse::Message<'_>,
            ) -> Action {
                Action::Continue
            }

            fn on_data(
                &mut self,
                _: &mut wheelhouse::Conn<'_>,
                _: &mut (),
                input: &mut wheelhouse::Input<'_>,
            ) -> Action {
                let _ = self.0.send(String::from_utf8_lossy(input.peek()).into_owned());
                Action::Continue // and takes nothing
            }

            fn on_eof(&mut self, _: &mut wheelhouse::Conn<'_>, _: &mut ()) -> Action {
                let _ = self.0.send("eof".into());
                Action::Finish
            }
        }
        let (told, tells) = std::sync::mpsc::channel();
        let mut server = crate::Server::start(crate::one_reactor(), move |_| Leaves(told.clone()));
        let mut stream = crate::connect(server.addr());
        stream.write_all(b"one").unwrap();
        assert_eq!(tells.recv_timeout(crate::LIMIT).unwrap(), "one");
        stream.write_all(b" two").unwrap();
        assert_eq!(tells.recv_timeout(crate::LIMIT).unwrap(), "one two");
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(tells.recv_timeout(crate::LIMIT).unwrap(), "eof");
        assert_eq!(crate::read_to_end(&mut stream), b"");
        server.stop();
        assert_eq!(tells.try_iter().count(), 0);
    }
}
