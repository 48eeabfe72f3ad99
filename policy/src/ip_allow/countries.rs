//! Countries by their codes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::CountriesIr;

/// ISO 3166-1 alpha-2, and XK, by which databases name Kosovo.
const CODES: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT \
    BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ \
    FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS \
    IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN \
    MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW \
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN \
    TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";

/// A country's code: two capital letters that stand for one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CountryCode([u8; 2]);

/// The text is no country's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no country's code (ISO 3166-1 alpha-2)")]
pub struct CountryCodeError;

impl CountryCode {
    /// Reads a code.
    ///
    /// # Errors
    /// [`CountryCodeError`]; a code that stands for nothing would deny nobody and say so to nobody.
    pub fn parse(text: &str) -> Result<Self, CountryCodeError> {
        let bytes = text.as_bytes().try_into().map_err(|_| CountryCodeError)?;
        CODES.split(' ').any(|code| code == text).then_some(Self(bytes)).ok_or(CountryCodeError)
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for CountryCode {
    type Error = CountryCodeError;

    fn try_from(text: String) -> Result<Self, CountryCodeError> {
        Self::parse(&text)
    }
}

impl From<CountryCode> for String {
    fn from(code: CountryCode) -> Self {
        code.as_str().to_owned()
    }
}

impl CountriesIr {
    /// Whether an address of this country may call. One that is in no country is in none of the denied, and in
    /// none of the allowed.
    #[must_use]
    pub fn allows(&self, country: Option<CountryCode>) -> bool {
        let Self { allow, deny } = self;
        let among = |list: &[CountryCode]| country.is_some_and(|country| list.contains(&country));
        !among(deny) && (allow.is_empty() || among(allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn countries(allow: &[&str], deny: &[&str]) -> CountriesIr {
        let parse = |list: &[&str]| list.iter().map(|code| CountryCode::parse(code).unwrap()).collect();
        CountriesIr { allow: parse(allow), deny: parse(deny) }
    }

    #[test]
    fn only_what_stands_for_a_country_is_a_code() {
        let codes: std::collections::BTreeSet<&str> = CODES.split(' ').collect();
        assert_eq!(codes.len(), 250, "249 of ISO 3166-1, and XK");
        assert_eq!(CODES.split(' ').count(), 250);
        assert!(codes.iter().all(|code| CountryCode::parse(code).is_ok_and(|read| read.as_str() == *code)));
        for wrong in ["UK", "EU", "kp", "D", "DEU", "", "AD AE", " A", "A "] {
            assert_eq!(CountryCode::parse(wrong), Err(CountryCodeError), "{wrong:?}");
        }
    }

    #[test]
    fn an_address_in_no_country_passes_what_denies_and_not_what_allows() {
        let in_country = |code| CountryCode::parse(code).ok();
        let denying = countries(&[], &["KP"]);
        assert!(denying.allows(None) && denying.allows(in_country("DE")) && !denying.allows(in_country("KP")));
        let allowing = countries(&["DE", "FR"], &[]);
        assert!(allowing.allows(in_country("FR")) && !allowing.allows(in_country("US")) && !allowing.allows(None));
    }
}
