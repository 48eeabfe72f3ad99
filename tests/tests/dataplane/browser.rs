//! What a real browser lets a page of another origin do.

use tests::chromium;
use tests::gateway::Gateway;
use tests::manifests::{route, secret, service, tenant};
use tests::upstream::{Reply, Upstream};

use super::HOST;

/// A page that calls the API and writes what it could read.
fn page(api: &str, calls: &[(&str, &str, &str)]) -> String {
    let calls = calls.iter().map(|(name, path, options)| format!("['{name}', '{path}', {options}]"));
    let calls = calls.collect::<Vec<_>>().join(", ");
    format!(
        "<body><script>
(async () => {{
  let text = '';
  for (const [name, path, options] of [{calls}]) {{
    try {{
      const answer = await fetch('{api}' + path, options);
      const reason = answer.ok ? 'ok' : (await answer.json()).reason;
      text += `${{name}}=${{answer.status}}:${{reason}}:${{answer.headers.has('x-request-id')}};`;
    }} catch (error) {{ text += `${{name}}=blocked;`; }}
  }}
  document.body.textContent = text;
}})();
</script></body>"
    )
}

#[test]
fn a_browser_calls_from_an_allowed_origin_and_reads_refusals() {
    let upstream = Upstream::echo().unwrap();
    let calls = [
        (
            "open",
            "/open",
            "{method: 'PUT', headers: {authorization: 'Bearer x', 'content-type': 'application/json'}, body: '{}'}",
        ),
        ("token", "/v1", "{headers: {authorization: 'Bearer e30.e30.e30'}}"),
        ("none", "/none", "{}"),
        ("listed", "/open", "{headers: {'x-not-listed': '1'}}"),
    ];
    let html = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let served = html.clone();
    let pages = Upstream::start(move |_| Reply::Status(200, served.lock().unwrap().clone())).unwrap();
    let origin = |host: &str| format!("http://{host}:{}", pages.address.port());
    let cors = format!(
        "  cors: {{allowOrigins: ['{}'], allowMethods: [GET, PUT], allowHeaders: [authorization, content-type], exposeHeaders: [x-request-id]}}
  authentication:
    jwt:
      - {{name: idp, issuer: 'https://idp.example', audiences: [api], algorithms: [HS256], keys: {{secretRef: {{name: jwt, namespace: acme, key: secret}}}}}}
",
        origin("app.acme.example")
    );
    let protected = route("protected", "/v1", "").replace("      authentication: {type: None}\n", "");
    let manifests = [
        tenant("acme", HOST, &cors),
        service("acme", "echo", 8080, upstream.address),
        secret("acme", "jwt", "secret", &"s".repeat(40)),
        protected,
        route("open", "/open", ""),
    ];
    let gateway = Gateway::start(&manifests.concat()).unwrap();
    *html.lock().unwrap() = page(&format!("http://{HOST}:{}", gateway.address.port()), &calls);

    let read = chromium::document(&origin("app.acme.example")).unwrap();
    let wanted = "open=200:ok:true;token=401:credentials_invalid:true;none=404:no_route:true;listed=blocked;";
    assert!(read.contains(wanted), "{read}\n{}", gateway.printed());
    assert_eq!(upstream.received().len(), 1);

    let read = chromium::document(&origin("evil.example")).unwrap();
    assert!(read.contains("open=blocked;token=blocked;none=blocked;listed=blocked;"), "{read}");
    assert_eq!(upstream.received().len(), 1, "the preflight was refused, so the call was never made");
}
