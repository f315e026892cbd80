use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

type Cut = Vec<(Kind, Vec<u8>)>;

/// Everything that a protocol makes of input which comes in these pieces.
fn cut(codec: &Codec, pieces: &[&[u8]]) -> Result<Cut, ProtocolError> {
    let (mut kept, mut found) = (Vec::new(), Vec::new());
    for piece in pieces {
        kept.extend_from_slice(piece);
        let mut bytes = std::mem::take(&mut kept);
        let mut input = Input::new(&mut bytes);
        loop {
            let before = input.len();
            match codec.decode(&mut 0, &mut input)? {
                Decoded::Message(message) => {
                    assert!(input.len() < before);
                    found.push((message.kind(), message.bytes().to_vec()));
                }
                Decoded::Need(need) => {
                    assert!(need > before && input.len() == before, "{need} of {before}");
                    break;
                }
                Decoded::Control(control) => panic!("no pings here: {control:?}"),
            }
        }
        kept = input.take().to_vec();
    }
    Ok(found)
}

fn encode(codec: &Codec, payload: Payload<'_>) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    codec.encode(&payload, &mut Output::new(&mut bytes)).map(|()| bytes)
}

fn told(codec: &Codec, bytes: &[u8]) -> String {
    cut(codec, &[bytes]).unwrap_err().to_string()
}

const WIDTHS: [usize; 5] = [1, 2, 3, 4, 8];

#[test]
fn every_width_in_either_order_is_cut_the_same_at_every_byte() {
    for width in WIDTHS {
        for parameters in [LengthDelimited::u8().width(width), LengthDelimited::u32_le().width(width)] {
            let codec = parameters.codec().unwrap();
            let bodies = [&b"one"[..], b"", b"a third", &[7; 200]].map(<[u8]>::to_vec);
            let stream = bodies.iter().map(|body| encode(&codec, body.into()).unwrap());
            let stream = stream.collect::<Vec<_>>().concat();
            let whole = cut(&codec, &[&stream]).unwrap();
            assert_eq!(whole, bodies.map(|body| (Kind::BINARY, body)));
            for at in 0..stream.len() {
                let (a, b) = stream.split_at(at);
                assert_eq!(cut(&codec, &[a, b]).unwrap(), whole, "{parameters:?} cut at {at}");
            }
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(cut(&codec, &bytes).unwrap(), whole);
        }
    }
}

#[test]
fn every_width_holds_its_greatest_value_and_no_more() {
    for (width, most) in [(1, 0xff), (2, 0xffff), (3, 0xff_ffff)] {
        for parameters in [LengthDelimited::u8(), LengthDelimited::u32_le()] {
            let codec = parameters.width(width).max_body(MAX_BODY).codec().unwrap();
            let frame = encode(&codec, vec![1; most].into()).unwrap();
            assert_eq!(frame[..width], vec![0xff; width]);
            assert_eq!(cut(&codec, &[&frame]).unwrap()[0].1.len(), most);
            assert_eq!(encode(&codec, vec![1; most + 1].into()), Err(Refusal::NotEncodable));
        }
    }
}

#[test]
fn a_length_is_adjusted_both_ways() {
    for (adjustment, frame) in [(-4, b"\0\x07abc"), (-1, b"\0\x04abc"), (3, b"\0\0abc")] {
        let codec = LengthDelimited::u16_be().adjustment(adjustment).codec().unwrap();
        assert_eq!(cut(&codec, &[frame]).unwrap(), [(Kind::BINARY, b"abc".to_vec())]);
        assert_eq!(encode(&codec, b"abc".into()).unwrap(), frame);
    }
    let three_more = LengthDelimited::u16_be().adjustment(3).codec().unwrap();
    assert_eq!(encode(&three_more, b"ab".into()), Err(Refusal::NotEncodable), "its length would be -1");
    let less = LengthDelimited::u8().adjustment(-2).codec().unwrap();
    assert_eq!(encode(&less, vec![1; 253].into()).unwrap()[0], 255);
    assert_eq!(encode(&less, vec![1; 254].into()), Err(Refusal::NotEncodable));
}

#[test]
fn a_length_of_less_than_nothing_or_beyond_the_maximum_is_told() {
    let codec = LengthDelimited::u16_be().max_body(4).codec().unwrap();
    assert_eq!(cut(&codec, &[b"\0\x04abcd"]).unwrap().len(), 1);
    assert_eq!(told(&codec, b"\0\x05"), "a length of 5: 0 to 4 B may follow");
    assert_eq!(encode(&codec, b"abcde".into()), Err(Refusal::NotEncodable));
    let codec = LengthDelimited::u16_be().adjustment(-2).max_body(4).codec().unwrap();
    assert_eq!(told(&codec, b"\0\x01"), "a length of 1, adjusted by -2: 0 to 4 B may follow");
    assert_eq!(told(&codec, b"\0\x07"), "a length of 7, adjusted by -2: 0 to 4 B may follow");
}

#[test]
fn sums_that_overflow_are_lengths_beyond_the_maximum() {
    let greatest = &[0xff; 8];
    for adjustment in [0, 1, MAX_BODY as i64, -1, i64::MIN] {
        let parameters = LengthDelimited::u64_le().adjustment(adjustment).max_body(MAX_BODY);
        assert!(told(&parameters.codec().unwrap(), greatest).starts_with("a length of 18446744073709551615"));
    }
    let codec = LengthDelimited::u64_be().adjustment(i64::MIN).codec().unwrap();
    let frame = encode(&codec, b"ab".into()).unwrap();
    assert_eq!(frame, b"\x80\0\0\0\0\0\0\x02ab");
    assert_eq!(cut(&codec, &[&frame]).unwrap(), [(Kind::BINARY, b"ab".to_vec())]);
}

#[test]
fn what_is_not_stripped_is_expected_in_the_payload() {
    let whole = LengthDelimited::u8().offset(2).strip(0).codec().unwrap();
    assert_eq!(cut(&whole, &[b"xy\x02hi"]).unwrap()[0].1, b"xy\x02hi");
    assert_eq!(encode(&whole, b"xy\x02hi".into()).unwrap(), b"xy\x02hi");
    for wrong in [&b"xy\x01hi"[..], b"xy", b""] {
        assert_eq!(encode(&whole, wrong.into()), Err(Refusal::NotEncodable));
    }
    let part = LengthDelimited::u16_be().offset(2).strip(3).codec().unwrap();
    assert_eq!(cut(&part, &[b"xy\0\x02hi"]).unwrap()[0].1, b"\x02hi");
    assert_eq!(encode(&part, b"\x02hi".into()).unwrap(), b"\0\0\0\x02hi");
    assert_eq!(encode(&part, b"\x03hi".into()), Err(Refusal::NotEncodable));
    let more = LengthDelimited::u8().strip(3).codec().unwrap();
    assert_eq!(cut(&more, &[b"\x04xyhi\x02xy"]).unwrap()[1].1, b"");
    assert_eq!(encode(&more, b"hi".into()).unwrap(), b"\x04\0\0hi");
    assert_eq!(told(&more, b"\x01"), "a length of 1: 2 to 1048576 B may follow");
}

#[test]
fn the_kind_is_type_and_flags() {
    let codec = LengthDelimited::type_flags().codec().unwrap();
    let frame = b"\x01\xfe\0\0\0\x02hi";
    let kind = Kind::custom(0x01fe);
    assert_eq!(cut(&codec, &[frame]).unwrap(), [(kind, b"hi".to_vec())]);
    assert_eq!(encode(&codec, Payload::from("hi").with_kind(kind)).unwrap(), frame);
    for none in [Kind::TEXT, Kind::BINARY] {
        assert_eq!(encode(&codec, Payload::from("").with_kind(none)).unwrap(), [0; 6]);
    }
}

#[test]
fn bad_parameters_are_told_with_the_value_and_what_is_allowed() {
    let one = LengthDelimited::u8;
    let told = |parameters: LengthDelimited| parameters.codec().err().unwrap().to_string();
    for (parameters, expected) in [
        (one().width(0), "width`: 0 is not allowed; allowed: 1, 2, 3, 4 or 8 bytes"),
        (one().width(5), "width`: 5 is not allowed; allowed: 1, 2, 3, 4 or 8 bytes"),
        (
            one().width(usize::MAX),
            "width`: 18446744073709551615 is not allowed; allowed: 1, 2, 3, 4 or 8 bytes",
        ),
        (one().offset(65), "offset`: 65 is not allowed; allowed: 0 to 64 bytes"),
        (LengthDelimited::type_flags().offset(1), "offset`: 1 is not allowed; allowed: 2 to 64 bytes"),
        (one().max_body(0), "max_body`: 0 is not allowed; allowed: 1 to 67108864 bytes"),
        (one().max_body((64 << 20) + 1), "max_body`: 67108865 is not allowed; allowed: 1 to 67108864 bytes"),
        (one().strip(129), "strip`: 129 is not allowed; allowed: 0 to 128 bytes"),
        (one().max_body(9).strip(11), "strip`: 11 is not allowed; allowed: 0 to 10 bytes"),
        (one().max_body(9).adjustment(10), "adjustment`: 10 is not allowed; allowed: -255 to 9 bytes"),
        (one().strip(3).adjustment(-254), "adjustment`: -254 is not allowed; allowed: -253 to 1048576 bytes"),
    ] {
        assert_eq!(told(parameters), format!("option `length_delimited {expected}"));
    }
    let widest = one().offset(64).width(8).strip(128).max_body(64 << 20);
    widest.adjustment(i64::MIN).codec().unwrap();
}

fn parameters() -> impl Strategy<Value = LengthDelimited> {
    let kind = prop_oneof![Just(LengthDelimited::u8()), Just(LengthDelimited::type_flags())];
    let adjustment = prop_oneof![-70..70_i64, any::<i64>()];
    let strip = prop_oneof![Just(None), (0..=128_usize).prop_map(Some)];
    let rest = (0..WIDTHS.len(), any::<bool>(), 0..=64_usize, adjustment, strip, 1..=400_usize);
    (kind, rest).prop_map(|(kind, (width, is_big, offset, adjustment, strip, max))| {
        let ordered = if is_big { kind.big_endian() } else { kind.little_endian() };
        let sized = ordered.width(WIDTHS[width]).offset(offset).adjustment(adjustment).max_body(max);
        LengthDelimited { strip, ..sized }
    })
}

proptest! {
    #[test]
    fn any_cut_of_any_stream_makes_the_same_messages(
        codec in parameters().prop_filter_map("bad", |parameters| parameters.codec().ok()),
        bodies in vec(vec(any::<u8>(), 0..300), 0..8),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for mut body in bodies {
            body.resize(body.len().clamp(codec.least_body, codec.max_body), 0);
            let length = (body.len() as u64).checked_sub_signed(codec.adjustment);
            let Some(length) = length.filter(|length| *length <= codec.greatest) else { continue };
            let mut frame = vec![0xa5; codec.offset];
            frame.resize(codec.header, 0);
            codec.order.write(length, &mut frame[codec.offset..]);
            frame.extend(body);
            expected.push((codec.kind(&frame), frame[codec.strip..].to_vec()));
            stream.extend(frame);
        }
        let mut ends: Vec<usize> = cuts.iter().map(|at| at.index(stream.len() + 1)).collect();
        ends.push(stream.len());
        ends.sort_unstable();
        let begins = [0].into_iter().chain(ends.iter().copied());
        let pieces: Vec<&[u8]> = begins.zip(&ends).map(|(begin, end)| &stream[begin..*end]).collect();
        prop_assert_eq!(&cut(&codec, &pieces).unwrap(), &expected);

        for (kind, bytes) in expected {
            let again = encode(&codec, Payload::from(&bytes).with_kind(kind)).unwrap();
            let message = cut(&codec, &[&again]).unwrap().remove(0);
            prop_assert_eq!(message.1, bytes);
            prop_assert!(codec.strip < 2 || message.0 == kind);
        }
    }

    #[test]
    fn no_bytes_and_no_parameters_panic(
        mut parameters in parameters(),
        wild in any::<Option<(usize, usize, usize, usize)>>(),
        bytes in vec(prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()], 0..200),
    ) {
        if let Some((width, offset, strip, max)) = wild {
            parameters = parameters.width(width).offset(offset).strip(strip).max_body(max);
        }
        if let Ok(codec) = parameters.codec() {
            let _ = cut(&codec, &[&bytes]);
            let _ = encode(&codec, (&bytes).into());
        }
    }
}
