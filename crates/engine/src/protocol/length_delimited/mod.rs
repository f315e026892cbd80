use super::{Decoded, Output, Protocol, ProtocolError};
use crate::{Error, Input, Kind, Message, Payload, Refusal, Result, options};

/// Messages with their length in front of them, by [`Framing::length_delimited`](super::Framing::length_delimited).
///
/// ```text
/// |<- offset ->|<- width ->|<- value of the length + adjustment ->|
/// |            |  length   |                 body                 |
/// |<- strip -------------->|<- a message's bytes, binary -------->|
/// ```
///
/// A length that would make less than nothing follow its field, or more than [`max_body`](Self::max_body), closes the
/// connection with [`CloseReason::Protocol`](crate::CloseReason::Protocol), behind what was answered before. A parameter
/// out of its bounds is an [`Error::BadOption`] of [`Builder::build`](crate::Builder::build) or of the dialling, before any
/// socket is opened.
///
/// A sent payload becomes the frame that would be received as that payload. The bytes that are stripped from what is
/// received are written in front of it: the length, and zeroes for whatever else is there. Those that are not stripped are
/// expected in the payload: whoever has something to write in front of the length strips nothing and sends whole frames. A
/// payload is refused ([`Refusal::NotEncodable`]) when it is more than the field or the maximum allows, or brings a length
/// of its own that is wrong.
///
/// ```
/// use wheelhouse::{Framing, LengthDelimited, Listener};
///
/// let framing = Framing::length_delimited(LengthDelimited::u16_be().max_body(8192));
/// let listener = Listener::new("tcp://127.0.0.1:0").framing(framing);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LengthDelimited {
    width: usize,
    order: Order,
    offset: usize,
    adjustment: i64,
    strip: Option<usize>,
    max_body: usize,
    meaning: Meaning,
}

/// The field's first byte: the highest, or the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Big,
    Little,
}

/// What is in front of the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    None,
    /// The first two bytes are the message's kind.
    TypeAndFlags,
}

/// The most bytes in front of the field.
const MAX_OFFSET: usize = 64;
/// The most bytes that are not in the message.
const MAX_STRIP: usize = 128;
/// The most bytes behind the field: no more can be kept of a connection.
const MAX_BODY: usize = options::INBOUND_LIMIT.max as usize;

/// Lengths and nothing else: what each is called, its width and order, what it is, and two bytes' length on the wire.
macro_rules! presets {
    ($($name:ident, $width:literal, $order:ident, $what:literal, $two:literal;)*) => { $(
        #[doc = $what]
        ///
        /// ```
        /// use wheelhouse::{LengthDelimited, Output, Protocol};
        ///
        #[doc = concat!("let protocol = LengthDelimited::", stringify!($name), "().protocol().unwrap();")]
        /// let mut wire = Vec::new();
        /// protocol.encode(&"hi".into(), &mut Output::new(&mut wire)).unwrap();
        #[doc = concat!("assert_eq!(wire, b\"", $two, "hi\");")]
        /// ```
        pub fn $name() -> Self {
            LengthDelimited::new($width, Order::$order)
        }
    )* }
}

/// # Presets
impl LengthDelimited {
    fn new(width: usize, order: Order) -> Self {
        let (offset, adjustment, strip, max_body, meaning) = (0, 0, None, 1 << 20, Meaning::None);
        LengthDelimited { width, order, offset, adjustment, strip, max_body, meaning }
    }

    presets! {
        u8, 1, Big, "One byte of length: bodies of up to 255 bytes.", r"\x02";
        u16_be, 2, Big, "Two bytes of length, the high one first: bodies of up to 65,535 bytes.", r"\0\x02";
        u16_le, 2, Little, "Two bytes of length, the low one first: bodies of up to 65,535 bytes.", r"\x02\0";
        u32_be, 4, Big, "Four bytes of length, the highest first.", r"\0\0\0\x02";
        u32_le, 4, Little, "Four bytes of length, the lowest first.", r"\x02\0\0\0";
        u64_be, 8, Big, "Eight bytes of length, the highest first.", r"\0\0\0\0\0\0\0\x02";
        u64_le, 8, Little, "Eight bytes of length, the lowest first.", r"\x02\0\0\0\0\0\0\0";
    }

    /// A byte of type, a byte of flags, four bytes of length with the highest first.
    ///
    /// The message's [`Kind`] is `Kind::custom(u16::from_be_bytes([type, flags]))`, and a payload's kind is what is written;
    /// zeroes, where it has no number.
    ///
    /// ```
    /// use wheelhouse::{Decoded, Input, LengthDelimited, Output, Payload, Protocol};
    ///
    /// let protocol = LengthDelimited::type_flags().protocol().unwrap();
    /// let mut bytes = *b"\x07\x80\0\0\0\x02hi";
    /// let Ok(Decoded::Message(message)) = protocol.decode(&mut 0, &mut Input::new(&mut bytes)) else { panic!() };
    /// let [kind, flags] = message.kind().number().unwrap_or(0).to_be_bytes();
    /// assert_eq!((kind, flags, message.bytes()), (7, 0x80, &b"hi"[..]));
    ///
    /// let mut wire = Vec::new();
    /// protocol.encode(&Payload::from("ho").with_kind(message.kind()), &mut Output::new(&mut wire)).unwrap();
    /// assert_eq!(wire, b"\x07\x80\0\0\0\x02ho");
    /// ```
    pub fn type_flags() -> Self {
        let plain = LengthDelimited::u32_be().offset(2);
        LengthDelimited { meaning: Meaning::TypeAndFlags, ..plain }
    }
}

/// # Parameters
impl LengthDelimited {
    /// The length field's size: 1, 2, 3, 4 or 8 bytes.
    ///
    /// ```
    /// use wheelhouse::{LengthDelimited, Output, Protocol};
    ///
    /// let protocol = LengthDelimited::u32_be().width(3).protocol().unwrap();
    /// let mut wire = Vec::new();
    /// protocol.encode(&"hi".into(), &mut Output::new(&mut wire)).unwrap();
    /// assert_eq!(wire, b"\0\0\x02hi");
    /// ```
    pub fn width(mut self, bytes: usize) -> Self {
        self.width = bytes;
        self
    }

    /// The length's highest byte comes first.
    ///
    /// ```
    /// use wheelhouse::{LengthDelimited, Output, Protocol};
    ///
    /// let protocol = LengthDelimited::u32_le().width(3).big_endian().protocol().unwrap();
    /// let mut wire = Vec::new();
    /// protocol.encode(&"hi".into(), &mut Output::new(&mut wire)).unwrap();
    /// assert_eq!(wire, b"\0\0\x02hi");
    /// ```
    pub fn big_endian(mut self) -> Self {
        self.order = Order::Big;
        self
    }

    /// The length's lowest byte comes first.
    ///
    /// ```
    /// use wheelhouse::{LengthDelimited, Output, Payload, Protocol, Kind};
    ///
    /// let protocol = LengthDelimited::type_flags().little_endian().protocol().unwrap();
    /// let mut wire = Vec::new();
    /// let payload = Payload::from("hi").with_kind(Kind::custom(0x0780));
    /// protocol.encode(&payload, &mut Output::new(&mut wire)).unwrap();
    /// assert_eq!(wire, b"\x07\x80\x02\0\0\0hi");
    /// ```
    pub fn little_endian(mut self) -> Self {
        self.order = Order::Little;
        self
    }

    /// How many bytes are in front of the length field: 0 to 64; 0 by default. [`type_flags`](Self::type_flags) has 2, and
    /// can have more but not less.
    ///
    /// ```
    /// use wheelhouse::{LengthDelimited, Output, Protocol};
    ///
    /// let protocol = LengthDelimited::u8().offset(3).protocol().unwrap();
    /// let mut wire = Vec::new();
    /// protocol.encode(&"hi".into(), &mut Output::new(&mut wire)).unwrap();
    /// assert_eq!(wire, b"\0\0\0\x02hi");
    /// ```
    pub fn offset(mut self, bytes: usize) -> Self {
        self.offset = bytes;
        self
    }

    /// What is added to the field's value to get the number of bytes behind the field; 0 by default. It must leave some
    /// length possible: no more than [`max_body`](Self::max_body), and no less than what the field's greatest value makes
    /// up for.
    ///
    /// Where the length counts the header too it is the header's size, negative:
    ///
    /// ```
    /// use wheelhouse::{LengthDelimited, Output, Protocol};
    ///
    /// let protocol = LengthDelimited::u16_be().adjustment(-2).protocol().unwrap();
    /// let mut wire = Vec::new();
    /// protocol.encode(&"hi".into(), &mut Output::new(&mut wire)).unwrap();
    /// assert_eq!(wire, b"\0\x04hi");
    /// ```
    pub fn adjustment(mut self, bytes: i64) -> Self {
        self.adjustment = bytes;
        self
    }

    /// How many of a frame's first bytes are not in the message: 0 to 128; by default up to the end of the length field. A
    /// frame of fewer bytes closes the connection as a length beyond the maximum does.
    ///
    /// ```
    /// use wheelhouse::{Decoded, Input, LengthDelimited, Protocol};
    ///
    /// let protocol = LengthDelimited::u8().offset(1).strip(0).protocol().unwrap();
    /// let mut bytes = *b"a\x02hi";
    /// let Ok(Decoded::Message(message)) = protocol.decode(&mut 0, &mut Input::new(&mut bytes)) else { panic!() };
    /// assert_eq!(message.bytes(), b"a\x02hi");
    /// ```
    pub fn strip(mut self, bytes: usize) -> Self {
        self.strip = Some(bytes);
        self
    }

    /// How many bytes may be behind the length field: 1 byte to 64 MiB; 1 MiB by default.
    ///
    /// A frame that comes in more than one read must also, with all that is in front of its body, be within
    /// [`Builder::inbound_limit`](crate::Builder::inbound_limit), or the connection is reset.
    ///
    /// ```
    /// use wheelhouse::{Input, LengthDelimited, Protocol};
    ///
    /// let protocol = LengthDelimited::u32_be().max_body(512).protocol().unwrap();
    /// let error = protocol.decode(&mut 0, &mut Input::new(&mut [0xff; 4])).unwrap_err();
    /// assert_eq!(error.to_string(), "a length of 4294967295: 0 to 512 B may follow");
    /// ```
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// The protocol by itself: to be tested, or to be a part of another.
    ///
    /// ```
    /// use wheelhouse::{Error, LengthDelimited};
    ///
    /// let error = LengthDelimited::u8().width(5).protocol().err().unwrap();
    /// assert!(matches!(&error, Error::BadOption { option: "length_delimited width", value, .. } if value == "5"));
    /// ```
    ///
    /// # Errors
    /// [`Error::BadOption`]: the parameter that is out of its bounds, its value, and what is allowed.
    pub fn protocol(&self) -> Result<impl Protocol + use<>> {
        self.codec()
    }

    pub(super) fn codec(&self) -> Result<Codec> {
        let Self { width, order, offset, adjustment, max_body, meaning, .. } = *self;
        if !matches!(width, 1..=4 | 8) {
            return Err(bad("length_delimited width", width, "1, 2, 3, 4 or 8 bytes".into()));
        }
        let least_offset = if meaning == Meaning::TypeAndFlags { 2 } else { 0 };
        if !(least_offset..=MAX_OFFSET).contains(&offset) {
            let allowed = format!("{least_offset} to {MAX_OFFSET} bytes");
            return Err(bad("length_delimited offset", offset, allowed));
        }
        if !(1..=MAX_BODY).contains(&max_body) {
            return Err(bad("length_delimited max_body", max_body, format!("1 to {MAX_BODY} bytes")));
        }
        let header = offset + width;
        let strip = self.strip.unwrap_or(header);
        let most = MAX_STRIP.min(header + max_body);
        if strip > most {
            return Err(bad("length_delimited strip", strip, format!("0 to {most} bytes")));
        }
        let least_body = strip.saturating_sub(header);
        let greatest = u64::MAX >> (64 - 8 * width);
        let lowest = (least_body as i128 - i128::from(greatest)).max(i64::MIN.into());
        if !(lowest..=max_body as i128).contains(&adjustment.into()) {
            return Err(bad(
                "length_delimited adjustment",
                adjustment,
                format!("{lowest} to {max_body} bytes"),
            ));
        }
        Ok(Codec { order, meaning, offset, header, strip, adjustment, least_body, max_body, greatest })
    }
}

fn bad(option: &'static str, value: impl ToString, allowed: String) -> Error {
    Error::BadOption { option, value: value.to_string(), allowed }
}

/// Parameters that have been looked at.
#[derive(Debug)]
pub(super) struct Codec {
    order: Order,
    meaning: Meaning,
    offset: usize,
    /// Up to the end of the field.
    header: usize,
    strip: usize,
    adjustment: i64,
    /// What must be behind the field for a frame to have the bytes that are stripped.
    least_body: usize,
    max_body: usize,
    /// The greatest value that the field can have.
    greatest: u64,
}

impl Protocol for Codec {
    fn decode<'a>(&self, _: &mut u64, input: &mut Input<'a>) -> Result<Decoded<'a>, ProtocolError> {
        let bytes = input.peek();
        let Some(field) = bytes.get(self.offset..self.header) else {
            return Ok(Decoded::Need(self.header));
        };
        let frame = self.header + self.body(self.order.read(field))?;
        if bytes.len() < frame {
            return Ok(Decoded::Need(frame));
        }
        let kind = self.kind(bytes);
        input.skip(self.strip);
        Ok(Decoded::Message(Message::new(kind, input.take_mut(frame - self.strip))))
    }

    fn encode(&self, payload: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Refusal> {
        let bytes = payload.bytes();
        let length = self.length(bytes.len()).ok_or(Refusal::NotEncodable)?;
        let mut front = [0; MAX_STRIP];
        if self.meaning == Meaning::TypeAndFlags {
            front[..2].copy_from_slice(&payload.kind().number().unwrap_or(0).to_be_bytes());
        }
        self.order.write(length, &mut front[self.offset..self.header]);
        if self.strip < self.header {
            let from = self.strip.max(self.offset);
            if bytes[from - self.strip..self.header - self.strip] != front[from..self.header] {
                return Err(Refusal::NotEncodable);
            }
        }
        out.put(&front[..self.strip]);
        out.body(payload);
        Ok(())
    }
}

impl Codec {
    /// How many bytes follow a field of this value.
    fn body(&self, length: u64) -> Result<usize, ProtocolError> {
        let body = length.checked_add_signed(self.adjustment).and_then(|body| usize::try_from(body).ok());
        body.filter(|body| (self.least_body..=self.max_body).contains(body))
            .ok_or_else(|| self.bad_length(length))
    }

    /// The field's value for a payload of so many bytes.
    fn length(&self, payload: usize) -> Option<u64> {
        let body = self.strip.checked_add(payload)?.checked_sub(self.header)?;
        if body > self.max_body {
            return None;
        }
        (body as u64).checked_sub_signed(self.adjustment).filter(|length| *length <= self.greatest)
    }

    fn kind(&self, frame: &[u8]) -> Kind {
        match (self.meaning, frame) {
            (Meaning::TypeAndFlags, &[kind, flags, ..]) => Kind::custom(u16::from_be_bytes([kind, flags])),
            _ => Kind::BINARY,
        }
    }

    #[cold]
    fn bad_length(&self, length: u64) -> ProtocolError {
        let Codec { adjustment, least_body, max_body, .. } = self;
        let adjusted = match adjustment {
            0 => String::new(),
            _ => format!(", adjusted by {adjustment}"),
        };
        ProtocolError(
            format!("a length of {length}{adjusted}: {least_body} to {max_body} B may follow").into(),
        )
    }
}

impl Order {
    fn read(self, field: &[u8]) -> u64 {
        let add = |value, &byte| value << 8 | u64::from(byte);
        match self {
            Order::Big => field.iter().fold(0, add),
            Order::Little => field.iter().rfold(0, add),
        }
    }

    /// The value fits.
    fn write(self, value: u64, field: &mut [u8]) {
        let width = field.len();
        match self {
            Order::Big => field.copy_from_slice(&value.to_be_bytes()[8 - width..]),
            Order::Little => field.copy_from_slice(&value.to_le_bytes()[..width]),
        }
    }
}

#[cfg(test)]
mod tests;
