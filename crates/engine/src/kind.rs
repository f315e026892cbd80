/// What a message is, beside its bytes: text, binary, or a number of a protocol's own.
///
/// ```
/// use wheelhouse::Kind;
///
/// assert_eq!(Kind::custom(7).number(), Some(7));
/// assert_eq!(Kind::TEXT.number(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(u32);

impl Kind {
    /// Bytes without further meaning.
    pub const BINARY: Kind = Kind(0);
    /// Text.
    pub const TEXT: Kind = Kind(1);

    const CUSTOM: u32 = 0x1_0000;

    /// A kind of a protocol's own.
    ///
    /// ```
    /// use wheelhouse::{Decoded, Input, Kind, LengthDelimited, Protocol};
    ///
    /// const LOGIN: Kind = Kind::custom(0x0700);
    /// let mut bytes = *b"\x07\x00\0\0\0\x03Ann"; // a type, flags, a length
    /// let decoded = LengthDelimited::type_flags().protocol()?.decode(&mut 0, &mut Input::new(&mut bytes));
    /// assert!(matches!(decoded, Ok(Decoded::Message(message)) if message.kind() == LOGIN));
    /// # Ok::<(), wheelhouse::Error>(())
    /// ```
    pub const fn custom(number: u16) -> Kind {
        Kind(Self::CUSTOM | number as u32)
    }

    /// The number given to [`Kind::custom`].
    ///
    /// ```
    /// use wheelhouse::Kind;
    ///
    /// assert_eq!(Kind::custom(0).number(), Some(0));
    /// assert_eq!(Kind::BINARY.number(), None);
    /// ```
    pub const fn number(self) -> Option<u16> {
        if self.0 & Self::CUSTOM != 0 { Some(self.0 as u16) } else { None }
    }
}
