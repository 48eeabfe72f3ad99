use policy::refusal::Reason;

use super::*;

fn verdict(head: &str) -> Result<Framing, Reason> {
    check(head.as_bytes(), &HttpLimits::default()).map_err(|refusal| refusal.reason)
}

#[test]
fn what_one_reader_could_read_otherwise_is_refused() {
    let refused = [
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("no host in 1.0", "GET / HTTP/1.0\r\n\r\n"),
        ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("CL with TE", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("TE with CL", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"),
        ("two CL", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n"),
        ("listed CL", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n"),
        ("signed CL", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n"),
        ("endless CL", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        ("two TE", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("TE list", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        ("TE odd", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"),
        ("TE in 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("space before colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        ("folding", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
        ("bare LF", "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        ("bare CR", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
        ("NUL", "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"),
        ("star", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("options star", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("connect", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("leading line", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("version", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        ("absolute differs", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("no slash", "GET index.html HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("expect", "POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 3\r\n\r\n"),
        ("angle brackets", "GET /a<b> HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("quotation mark in the query", "GET /?a=\"b\" HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("backtick", "GET /a`b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("absolute with an odd host", "GET http://a|b/ HTTP/1.1\r\nHost: a|b\r\n\r\n"),
        ("non-ASCII target", "GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n"),
    ];
    for (name, head) in refused {
        assert_eq!(verdict(head), Err(Reason::MalformedRequest), "{name}");
    }
}

#[test]
fn usual_heads_pass_with_their_framing() {
    assert_eq!(verdict("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Framing::Length(0)));
    assert_eq!(verdict("GET / HTTP/1.0\r\nHost: a\r\n\r\n"), Ok(Framing::Length(0)));
    assert_eq!(verdict("GET http://a:80/x HTTP/1.1\r\nHost: a:80\r\n\r\n"), Ok(Framing::Length(0)));
    assert_eq!(verdict("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n"), Ok(Framing::Length(12)));
    assert_eq!(verdict("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"), Ok(Framing::Chunked));
}

#[test]
fn too_much_of_it_is_refused_with_its_own_status() {
    let fields = "X: y\r\n".repeat(101);
    assert_eq!(verdict(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")), Err(Reason::HeadersTooLarge));
    let target = "a".repeat(9000);
    assert_eq!(verdict(&format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n")), Err(Reason::TargetTooLong));
}

#[test]
fn a_fragment_is_refused_as_ambiguous() {
    for target in ["/a#", "/a#/../b", "/a?x=#y", "http://a/#b"] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(verdict(&head), Err(Reason::AmbiguousPath), "{target}");
    }
}

proptest::proptest! {
    /// Otherwise the parser would refuse it by a bare 400, which is in no log.
    #[test]
    fn a_target_that_passes_is_taken_by_the_parser_as_it_is(target in "/[!-~]{0,30}") {
        if check_characters(&target).is_ok() {
            let parsed: http::Uri = target.parse().unwrap();
            proptest::prop_assert_eq!(parsed.path_and_query().unwrap().as_str(), &target);
        }
    }
}
