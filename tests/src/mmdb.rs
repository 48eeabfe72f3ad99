//! Writes a tiny country database in MaxMind DB format 2.0, as its specification has it
//! (maxmind.github.io/MaxMind-DB), for tests to look addresses up in.

use std::net::{IpAddr, Ipv6Addr};

/// What a record of the tree leads to.
#[derive(Clone, Copy)]
enum Leads {
    Nowhere,
    Node(usize),
    Datum(usize),
}

/// A database in the making.
#[derive(Clone, Debug)]
pub struct CountryDatabase {
    networks: Vec<(IpAddr, u8, String)>,
    ip_version: u16,
    /// The name of the field that holds `iso_code`.
    field: &'static str,
}

impl CountryDatabase {
    /// One with these networks and their countries.
    #[must_use]
    pub fn new(networks: &[(IpAddr, u8, &str)]) -> Self {
        let networks = networks.iter().map(|(address, bits, code)| (*address, *bits, (*code).to_owned())).collect();
        Self { networks, ip_version: 6, field: "country" }
    }

    /// The same as a database of IPv4 only.
    #[must_use]
    pub fn of_one_family(self) -> Self {
        Self { ip_version: 4, ..self }
    }

    /// The same with the codes in another field.
    #[must_use]
    pub fn in_field(self, field: &'static str) -> Self {
        Self { field, ..self }
    }

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let (mut nodes, mut data) = (vec![[Leads::Nowhere; 2]], Vec::new());
        for (address, bits, code) in &self.networks {
            let at = data.len();
            map(&mut data, 1);
            text(&mut data, self.field);
            map(&mut data, 1);
            text(&mut data, "iso_code");
            text(&mut data, code);
            self.insert(&mut nodes, *address, *bits, at);
        }
        let count = nodes.len();
        let mut file = Vec::new();
        for leads in nodes.iter().flatten() {
            let record = match leads {
                Leads::Nowhere => count,
                Leads::Node(node) => *node,
                Leads::Datum(at) => count + 16 + at,
            };
            file.extend(u32::try_from(record).unwrap_or(u32::MAX).to_be_bytes().into_iter().skip(1));
        }
        file.extend([0; 16]);
        file.extend(data);
        file.extend(b"\xab\xcd\xefMaxMind.com");
        self.metadata(&mut file, count);
        file
    }

    fn insert(&self, nodes: &mut Vec<[Leads; 2]>, address: IpAddr, bits: u8, datum: usize) {
        let (number, width, bits) = match (address, self.ip_version) {
            (IpAddr::V4(address), 4) => (u128::from(address.to_bits()), 32, bits),
            (IpAddr::V4(address), _) => (u128::from(address.to_bits()), 128, bits + 96),
            (IpAddr::V6(address), _) => (Ipv6Addr::to_bits(address), 128, bits),
        };
        let mut at = 0;
        for depth in 0..bits {
            let side = usize::try_from(number >> (width - 1 - depth) & 1).unwrap_or_default();
            let fresh = nodes.len();
            let Some(leads) = nodes.get_mut(at).and_then(|node| node.get_mut(side)) else { return };
            if depth + 1 == bits {
                *leads = Leads::Datum(datum);
            } else if let Leads::Node(node) = leads {
                at = *node;
            } else {
                *leads = Leads::Node(fresh);
                nodes.push([Leads::Nowhere; 2]);
                at = fresh;
            }
        }
    }

    fn metadata(&self, file: &mut Vec<u8>, nodes: usize) {
        map(file, 9);
        for (name, value) in [
            ("binary_format_major_version", 2),
            ("binary_format_minor_version", 0),
            ("ip_version", self.ip_version),
            ("record_size", 24),
        ] {
            text(file, name);
            file.push(5 << 5 | 2);
            file.extend(value.to_be_bytes());
        }
        text(file, "build_epoch");
        file.extend([8, 2]);
        file.extend(1_800_000_000_u64.to_be_bytes());
        text(file, "node_count");
        file.push(6 << 5 | 4);
        file.extend(u32::try_from(nodes).unwrap_or(u32::MAX).to_be_bytes());
        text(file, "database_type");
        text(file, "Test-Country");
        text(file, "languages");
        file.extend([1, 4]);
        text(file, "en");
        text(file, "description");
        map(file, 1);
        text(file, "en");
        text(file, "a test");
    }
}

fn map(out: &mut Vec<u8>, pairs: u8) {
    out.push(7 << 5 | pairs);
}

/// Shorter than 29 bytes, so that its length is in its first byte.
fn text(out: &mut Vec<u8>, text: &str) {
    out.push(2 << 5 | u8::try_from(text.len()).unwrap_or_default());
    out.extend(text.as_bytes());
}
