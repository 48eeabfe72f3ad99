//! Ranges as text to ranges.

use ipnet::IpNet;

use super::{IpAllowIr, IpAllowSpec};
use crate::problem::Problems;

/// The ranges of a block; `None` when a problem was recorded.
pub fn compile(spec: &IpAllowSpec, mut problems: Problems<'_>) -> Option<IpAllowIr> {
    let IpAllowSpec { allow, deny, countries, mode: _ } = spec;
    let before = problems.errors();
    if countries.is_some() {
        problems.at("countries").not_enforced("leave it out; allow and deny take address ranges");
    } else if allow.is_empty() && deny.is_empty() {
        problems.invalid("says nothing", "name ranges in allow or deny");
    }
    let ir = IpAllowIr { allow: ranges(allow, problems.at("allow")), deny: ranges(deny, problems.at("deny")) };
    (problems.errors() == before).then_some(ir)
}

fn ranges(texts: &[String], mut problems: Problems<'_>) -> Vec<IpNet> {
    let mut ranges = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match text.parse::<IpNet>() {
            Ok(net) if net.trunc() == net => ranges.push(net),
            Ok(net) => {
                let help = format!("write {}, or {}/{}", net.trunc(), net.addr(), net.max_prefix_len());
                problems.item(index).invalid(format!("{text:?} has bits set after its prefix"), help);
            }
            Err(_) => problems.item(index).invalid(
                format!("{text:?} is no address range"),
                "write a range in CIDR form, such as 192.0.2.0/24, 2001:db8::/32, or 192.0.2.7/32 for one address",
            ),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        golden::check("ip_allow", |spec: &IpAllowSpec, _, problems| compile(spec, problems));
        golden::check_page("ip_allow", "/addresses", |spec: &IpAllowSpec, _, problems| compile(spec, problems));
    }
}
