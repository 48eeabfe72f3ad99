//! Spellings of a guarded path, and header fields that claim to be somebody.

use std::io;

use super::frames::{Came, Frames};
use super::world::{HOST, World};
use super::{Scale, Seen};
use crate::client::{Client, get};

use std::time::Duration;

/// Spellings that some server or framework reads as `/admin`.
const SPELLINGS: &[&str] = &[
    "/admin",
    "/%61dmin",
    "/%61%64%6d%69%6e",
    "/admin/",
    "/admin/x",
    "//admin",
    "///admin",
    "/./admin",
    "/x/../admin",
    "/x/..;/admin",
    "/x/%2e%2e/admin",
    "/x/.%2e/admin",
    "/%2e/admin",
    "/admin;x",
    "/admin;x=1",
    "/admin%3bx",
    "/admin%3Bx=1/y",
    "/;/admin",
    "/;x=1/admin",
    "/\\admin",
    "/%5cadmin",
    "/x\\..\\admin",
    "/x%5c..%5cadmin",
    "/%2fadmin",
    "/admin%2fx",
    "/x%2f..%2fadmin",
    "/admin%00",
    "/admin%00x",
    "/admin%0a",
    "/admin%09",
    "/admin%20",
    "/admin#",
    "/admin#x",
    "/public#/../admin",
    "/admin?x=#y",
    "/%25%36%31dmin",
    "/%2561dmin",
    "/admin.",
    "/admin./",
    "/ADMIN/../admin",
    "/x/..%2fadmin",
    "/x%2f../admin",
    "/.//admin",
    "/admin..;/",
    "/x//../admin",
    "/%c0%afadmin",
    "/%c0%ae%c0%ae/admin",
    "/%u0061dmin",
    "/admin/..;/admin",
    "http://api.acme.example/admin",
    "http://api.acme.example//admin",
    "/x/%2e%2e;/admin",
    "/x/.;/../admin",
];

/// Returns whether some server could read the path as `/admin`.
fn could_be_admin(target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let mut decoded = path.to_owned();
    for (from, to) in [
        ("%2f", "/"),
        ("%2F", "/"),
        ("%5c", "/"),
        ("%5C", "/"),
        ("\\", "/"),
        ("%2e", "."),
        ("%2E", "."),
        ("%3b", ";"),
        ("%3B", ";"),
        ("%00", "\0"),
    ] {
        decoded = decoded.replace(from, to);
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment.split([';', '\0']).next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    segments.first().is_some_and(|first| *first == "admin")
}

/// Every spelling over both protocols: the closed rule's 401, a refusal, or a path that nobody reads as guarded.
pub(super) fn guarded(_: Scale) -> io::Result<Seen> {
    let world = World::start("", "", &[])?;
    let mut broken = Vec::new();

    for target in SPELLINGS {
        let before = world.upstream.received().len();
        let mut client = Client::connect(world.gateway.address)?;
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let _ = client.answer(false);
        broken.extend(passed(&world, before, "HTTP/1.1", target));

        let before = world.upstream.received().len();
        let mut frames = Frames::connect(world.gateway.address, 65_535)?;
        let fields = [(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", *target)];
        frames.request(1, &fields, true)?;
        while let Came::Other = frames.came(Duration::from_secs(5)) {}
        broken.extend(passed(&world, before, "HTTP/2", target));
    }
    Ok(Seen::of(&broken, SPELLINGS.len() * 2))
}

fn passed(world: &World, before: usize, protocol: &str, target: &str) -> Vec<String> {
    let received = world.upstream.received_after(before);
    let admin = received.iter().filter_map(|one| one.line.split(' ').nth(1)).filter(|path| could_be_admin(path));
    admin.map(|path| format!("{protocol} {target} reached the service as {path}")).collect()
}

/// Names by which services learn who calls, from where, or what else to do.
const FIELDS: &[&str] = &[
    "x-postern-tenant",
    "x-postern-caller",
    "x-postern-roles",
    "x-postern-auth",
    "x-postern-anything",
    "x-user-id",
    "x-user",
    "x-roles",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-access-token",
    "x-webauth-user",
    "x-consumer-id",
    "x-consumer-username",
    "x-consumer-custom-id",
    "x-authenticated-userid",
    "cf-access-authenticated-user-email",
    "cf-access-jwt-assertion",
    "x-amzn-oidc-identity",
    "x-amzn-oidc-data",
    "x-amzn-oidc-accesstoken",
    "x-ms-client-principal",
    "x-ms-client-principal-name",
    "x-ms-client-principal-id",
    "impersonate-user",
    "impersonate-group",
    "x-remote-user",
    "remote-user",
    "x-original-url",
    "x-rewrite-url",
    "x-original-uri",
    "x-goog-authenticated-user-email",
    "x-goog-iap-jwt-assertion",
    "x-real-ip",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "forwarded",
    "x-forwarded-client-cert",
    "x-ssl-client-cn",
    "x-ssl-client-dn",
    "client-cert",
    "proxy",
    "x-http-method-override",
    "x-method-override",
    "x-http-method",
];

/// Each field as a stranger sends it, also with `_`, and with `Connection` naming what the gateway writes.
pub(super) fn identity(_: Scale) -> io::Result<Seen> {
    const FORGED: &str = "forged-by-a-stranger";
    let world = World::start("", "", &[])?;
    let mut broken = Vec::new();

    for name in FIELDS {
        for spelling in [(*name).to_owned(), name.replace('-', "_")] {
            let before = world.upstream.received().len();
            get(HOST, "/x").header(&spelling, FORGED).send(world.gateway.address)?;
            let received = world.upstream.received_after(before);
            let reached = received.iter().any(|one| one.headers.iter().any(|(_, value)| value.contains(FORGED)));
            broken.extend(reached.then(|| format!("{spelling} reached the service")));
        }
    }

    let before = world.upstream.received().len();
    get(HOST, "/x").header("connection", "x-forwarded-for, x-request-id, host").send(world.gateway.address)?;
    for one in world.upstream.received_after(before) {
        for name in ["x-forwarded-for", "x-request-id", "host"] {
            broken.extend(
                one.header(name).is_none().then(|| format!("Connection: {name} took the gateway's field away")),
            );
        }
    }
    Ok(Seen::of(&broken, FIELDS.len() * 2 + 1))
}
