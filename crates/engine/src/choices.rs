//! Every knob that is no number.

/// One row of [`CHOICES`].
///
/// ```
/// use wheelhouse::CHOICES;
///
/// let balance = CHOICES.iter().find(|choice| choice.name == "balance").expect("it is one of them");
/// assert_eq!((balance.of, balance.default), ("Builder", "RoundRobin"));
/// assert_eq!(balance.others, ["LeastConnections", "SourceHash"]);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ChoiceInfo {
    /// The method of the same name.
    pub name: &'static str,
    /// Whose method it is.
    pub of: &'static str,
    /// What there is when it is not called: the variant of an enum, `off` and `on` for what is switched.
    pub default: &'static str,
    /// What else there is.
    pub others: &'static [&'static str],
}

const fn choice(
    of: &'static str,
    name: &'static str,
    default: &'static str,
    others: &'static [&'static str],
) -> ChoiceInfo {
    ChoiceInfo { name, of, default, others }
}

/// Every option that is no number: its name, its default, and what else there is.
///
/// ```
/// for choice in wheelhouse::CHOICES {
///     println!("{}::{}: {}, or {}", choice.of, choice.name, choice.default, choice.others.join(", "));
/// }
/// ```
pub const CHOICES: &[ChoiceInfo] = &[
    choice("Builder", "pin", "off", &["on"]),
    choice("Builder", "reuse_port", "off", &["on"]),
    choice("Builder", "balance", "RoundRobin", &["LeastConnections", "SourceHash"]),
    choice("Builder", "nodelay", "on", &["off"]),
    choice("Builder", "memory_policy", "CloseGreatest", &["CloseAsking"]),
    choice("Builder", "idle_counts", "Either", &["Received"]),
    choice("Listener", "framing", "raw", &["lines", "length_delimited", "websocket", "custom"]),
    choice("Listener", "policy", "Refuse", &["DropMessage", "Close"]),
    choice("Listener", "proxy_protocol", "off", &["from trusted networks"]),
    choice("Listener", "tls", "off", &["a certificate and its key"]),
    choice("Listener", "unix_mode", "the umask's", &["permission bits, up to 0o777"]),
    choice("Listener", "only_v6", "off", &["on"]),
];

#[cfg(test)]
mod tests {
    use crate::{Policy, options::Options};

    use super::*;

    fn switched(on: bool) -> String {
        if on { "on" } else { "off" }.to_owned()
    }

    #[test]
    fn the_defaults_are_those_that_an_engine_has() {
        let options = Options::default();
        for choice in CHOICES {
            let has = match choice.name {
                "pin" => switched(options.pin),
                "reuse_port" => switched(options.reuse_port),
                "balance" => format!("{:?}", options.balance.unwrap_or_default()),
                "nodelay" => switched(options.nodelay),
                "memory_policy" => format!("{:?}", options.memory_policy),
                "idle_counts" => format!("{:?}", options.idle_counts),
                "policy" => format!("{:?}", Policy::default()),
                // What a listener has is seen from outside.
                "framing" | "proxy_protocol" | "tls" | "unix_mode" | "only_v6" => continue,
                other => panic!("a choice that this test does not know: {other}"),
            };
            assert_eq!(has, choice.default, "{}", choice.name);
            assert!(!choice.others.contains(&choice.default), "{}", choice.name);
        }
    }
}
