//! The chat's page in a real browser: two tabs and a telnet client in one room.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Instant,
};

use common::{PATIENCE, Server, connect};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket, client};

/// A headless browser, spoken to by its DevTools protocol; killed when dropped.
struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    next: u64,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn start() -> Browser {
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--remote-debugging-port=0", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("chromium is installed: `make test` does so where it may");
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = told
            .find_map(|line| Some(line.ok()?.strip_prefix("DevTools listening on ")?.to_owned()))
            .expect("the browser says where it listens");
        // It goes on telling, and would wait for a reader.
        std::thread::spawn(move || told.for_each(drop));
        let address = url.strip_prefix("ws://").unwrap().split('/').next().unwrap();
        let stream = connect(address.parse().unwrap());
        let (socket, _) = client(url.as_str(), stream).unwrap();
        Browser { child, socket, next: 0, _profile: profile }
    }

    /// Asks the browser, or a tab of it, and waits for the answer.
    fn ask(&mut self, tab: Option<&str>, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut request = json!({ "id": self.next, "method": method, "params": params });
        if let Some(tab) = tab {
            request["sessionId"] = json!(tab);
        }
        self.socket.send(Message::text(request.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == self.next {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// Opens a page in a tab of its own.
    fn open(&mut self, url: &str) -> String {
        let target = self.ask(None, "Target.createTarget", json!({ "url": url }))["targetId"].clone();
        let attached =
            self.ask(None, "Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        attached["sessionId"].as_str().unwrap().to_owned()
    }

    /// What a script in the page comes to.
    fn run(&mut self, tab: &str, script: &str) -> Value {
        let params = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let answer = self.ask(Some(tab), "Runtime.evaluate", params);
        assert!(answer.get("exceptionDetails").is_none(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    fn sees(&mut self, tab: &str, line: &str) {
        let since = Instant::now();
        let script = "document.getElementById('lines')?.innerText ?? ''";
        loop {
            let lines = self.run(tab, script);
            if lines.as_str().is_some_and(|lines| lines.lines().any(|shown| shown == line)) {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "no {line:?} in {lines}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_tabs_and_a_telnet_client_talk_to_each_other() {
    let chat = Server::start_with("chat", 2, &["--ws", "ws://127.0.0.1:0", "--tcp", "tcp://127.0.0.1:0"]);
    let page = chat.urls()[0].replace("ws://", "http://");
    let telnet = chat.urls()[1].strip_prefix("tcp://").unwrap().parse().unwrap();
    let mut browser = Browser::start();

    let ann = browser.open(&format!("{page}/?name=Ann"));
    browser.sees(&ann, "* Ann joined");
    let bob = browser.open(&format!("{page}/?name=Bob"));
    browser.sees(&ann, "* Bob joined");
    let mut eve = BufReader::new(connect(telnet));
    eve.get_mut().write_all(b"Eve\r\n").unwrap();
    browser.sees(&bob, "* Eve joined");

    let say = "text.value = 'grüß euch'; say.requestSubmit()";
    browser.run(&ann, say);
    browser.sees(&ann, "Ann: grüß euch");
    browser.sees(&bob, "Ann: grüß euch");
    heard(&mut eve, "Ann: grüß euch");

    eve.get_mut().write_all("hi from a terminal\r\n".as_bytes()).unwrap();
    browser.sees(&ann, "Eve: hi from a terminal");
    browser.sees(&bob, "Eve: hi from a terminal");

    browser.run(&ann, "socket.addEventListener('message', ({ data }) => got = data); var got = null");
    browser.run(&bob, "socket.send(new Uint8Array(70000).fill(7))");
    browser.sees(&ann, "70000 bytes");
    heard(&mut eve, "* Bob sends 70000 bytes");
    let bytes = "new Uint8Array(got).every(byte => byte === 7) && got.byteLength";
    assert_eq!(browser.run(&ann, bytes), 70000);

    browser.run(&bob, "socket.close(1000)");
    browser.sees(&ann, "* Bob left");
    chat.stop();
}

fn heard(telnet: &mut BufReader<TcpStream>, wanted: &str) {
    loop {
        let mut line = String::new();
        assert_ne!(telnet.read_line(&mut line).unwrap(), 0, "the end, and no {wanted:?}");
        if line.trim_end() == wanted {
            return;
        }
    }
}
