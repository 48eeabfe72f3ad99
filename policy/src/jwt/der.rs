//! The two numbers of an RSA public key in DER (RFC 8017, A.1.1); nothing else of ASN.1.

/// Modulus and exponent of `SEQUENCE { INTEGER, INTEGER }`, and no byte more.
pub(super) fn rsa_public_key(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (body, rest) = element(der, 0x30)?;
    let (n, body) = element(body, 0x02)?;
    let (e, left) = element(body, 0x02)?;
    (rest.is_empty() && left.is_empty()).then_some(())?;
    Some((positive(n)?, positive(e)?))
}

/// The content of the element at the front, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x82 => {
            let (length, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (*first == tag).then_some(())?;
    rest.split_at_checked(length)
}

/// The bytes of a positive INTEGER, without the zero that keeps its sign.
fn positive(integer: &[u8]) -> Option<Vec<u8>> {
    match integer {
        [0, rest @ ..] if !rest.is_empty() => Some(rest.to_vec()),
        [first, ..] if *first < 0x80 && *first > 0 => Some(integer.to_vec()),
        [] | [_, ..] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_positive_integers_and_nothing_else() {
        let key = [0x30, 0x07, 0x02, 0x02, 0x00, 0x81, 0x02, 0x01, 0x03];
        assert_eq!(rsa_public_key(&key), Some((vec![0x81], vec![3])));
        let three = [0x30, 0x09, 0x02, 0x01, 0x00, 0x02, 0x01, 0x05, 0x02, 0x01, 0x03];
        assert_eq!(rsa_public_key(&three), None);
        let negative = [0x30, 0x06, 0x02, 0x01, 0x81, 0x02, 0x01, 0x03];
        assert_eq!(rsa_public_key(&negative), None);
        for cut in 0..key.len() {
            assert_eq!(rsa_public_key(&key[..cut]), None);
        }
    }
}
