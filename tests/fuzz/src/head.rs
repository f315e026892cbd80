//! The head of an answer, as a client reads it that is not ours.

/// A head, and what follows it.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    pub(crate) status: u16,
    headers: Vec<(&'a str, &'a str)>,
    pub(crate) body: &'a [u8],
}

impl<'a> Head<'a> {
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|&(_, value)| value)
    }

    pub(crate) fn first(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }
}

/// Reads a head by RFC 9112, 2 to 5, taking nothing that a sender may not write; what is wrong, if anything is.
pub(crate) fn read(bytes: &[u8]) -> Result<Head<'_>, String> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or("no empty line")?;
    let text = str::from_utf8(&bytes[..end]).map_err(|error| error.to_string())?;
    let mut lines = text.split("\r\n");

    let line = lines.next().unwrap_or_default();
    let status =
        line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split_once(' ')).map(|(digits, _)| digits);
    let status = status.filter(|digits| digits.len() == 3).and_then(|digits| digits.parse().ok());
    let status = status.ok_or(format!("the status line is {line:?}"))?;

    let headers: Option<Vec<_>> = lines
        .map(|line| {
            let (name, value) = line.split_once(": ")?;
            let is_token = !name.is_empty() && name.bytes().all(is_token);
            let is_value = !value.contains(|char: char| char.is_ascii_control() && char != '\t');
            (is_token && is_value).then_some((name, value.trim_matches([' ', '\t'])))
        })
        .collect();
    let headers = headers.ok_or(format!("among the headers is one that may not be: {text:?}"))?;
    Ok(Head { status, headers, body: &bytes[end + 4..] })
}

/// The same of an answer that is the connection's last, with its body.
pub(crate) fn read_last(bytes: &[u8], is_head: bool) -> Result<Head<'_>, String> {
    let head = read(bytes)?;
    if !(200..600).contains(&head.status) {
        return Err(format!("{} is no last answer", head.status));
    }
    if !head.first("Connection").is_some_and(|value| value.starts_with("close")) {
        return Err("it does not say that it is the last".into());
    }
    let lengths: Vec<usize> = head.all("Content-Length").filter_map(|digits| digits.parse().ok()).collect();
    match lengths[..] {
        [] if matches!(head.status, 204 | 304) && head.body.is_empty() => Ok(head),
        [length] if length == head.body.len() || is_head && head.body.is_empty() => Ok(head),
        _ => Err(format!("{} bytes of body, and lengths {lengths:?}", head.body.len())),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
