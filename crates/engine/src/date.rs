//! What time it is, as an answer says it.

use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use httpdate::HttpDate;

/// The Date of a reactor's answers (RFC 9110, 6.6.1), written once for each second.
#[derive(Debug, Default)]
pub(crate) struct Date {
    /// Which one, since 1970; none before the first.
    second: Option<u64>,
    text: String,
}

impl Date {
    /// That moment's; none where a clock stands that cannot be right: there it is better not to say.
    pub(crate) fn at(&mut self, now: SystemTime) -> Option<&str> {
        let second = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
        if second >= YEAR_10000 {
            return None;
        }
        if self.second != Some(second) {
            self.text.clear();
            write!(self.text, "{}", HttpDate::from(now)).ok()?;
            self.second = Some(second);
        }
        Some(&self.text)
    }
}

/// A year has four digits.
const YEAR_10000: u64 = 253_402_300_800;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_date_is_that_of_its_second_whichever_way_the_clock_is_set() {
        let mut date = Date::default();
        let mut at = |ms| date.at(UNIX_EPOCH + Duration::from_millis(ms)).map(str::to_owned);
        // The example of RFC 9110, 5.6.7.
        let example = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(784_111_777_000).as_deref(), example);
        assert_eq!(at(784_111_777_999).as_deref(), example);
        assert_eq!(at(784_111_778_000).as_deref(), Some("Sun, 06 Nov 1994 08:49:38 GMT"));
        assert_eq!(at(784_111_777_000).as_deref(), example);
        assert_eq!(at(0).as_deref(), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    }

    #[test]
    fn a_clock_that_no_date_can_tell_says_none() {
        let mut date = Date::default();
        assert_eq!(date.at(UNIX_EPOCH - Duration::from_secs(1)), None);
        let end = UNIX_EPOCH + Duration::from_secs(YEAR_10000);
        assert_eq!(date.at(end), None);
        assert_eq!(date.at(end - Duration::from_secs(1)), Some("Fri, 31 Dec 9999 23:59:59 GMT"));
    }
}
