//! A kept request as the call that sends it again. What its caller proved itself with is not kept, and not in it.

use serde_json::Value;

/// The call, for a shell; none for what is no kept request.
pub(super) fn call(event: &Value) -> Option<String> {
    if event.get("type").and_then(Value::as_str) != Some("postern.request.failed") {
        return None;
    }
    let data = event.get("data")?;
    let text = |name: &str| data.get(name).and_then(Value::as_str);
    let (method, host, target) = (text("method")?, text("host")?, text("target")?);
    let mut lines = vec![
        "# Set GATEWAY, and add what the caller proves itself with: that is not kept.".to_owned(),
        format!("curl --request {}", quoted(method)),
        format!("--header {}", quoted(&format!("host: {host}"))),
    ];
    for (name, value) in data.get("headers").and_then(Value::as_object).into_iter().flatten() {
        lines.push(format!("--header {}", quoted(&format!("{name}: {}", value.as_str().unwrap_or_default()))));
    }
    let mut before = String::new();
    if let Some(body) = data.get("body").filter(|body| !body.is_null()) {
        lines.push(format!("--data-raw {}", quoted(&body.to_string())));
    } else if let Some(body) = text("bodyBase64") {
        before = format!("printf %s {} | base64 --decode | ", quoted(body));
        lines.push("--data-binary @-".to_owned());
    }
    lines.push(format!("\"$GATEWAY\"{}", quoted(target)));
    let call = lines.split_off(1).join(" \\\n  ");
    Some(format!("{}\n{before}{call}", lines.concat()))
}

/// One word for a shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kept_request_is_a_call_that_a_shell_takes_as_it_was() {
        let event = json!({"type": "postern.request.failed", "data": {
            "method": "POST", "host": "api.acme.example", "target": "/orders?dry=1",
            "headers": {"content-type": "application/json"}, "body": {"note": "it's $HOME"}}});
        let call = call(&event).unwrap();
        assert!(call.contains(r#"--data-raw '{"note":"it'\''s $HOME"}'"#), "{call}");
        assert!(call.ends_with(r#""$GATEWAY"'/orders?dry=1'"#), "{call}");
    }

    #[test]
    fn what_is_no_text_is_decoded_on_the_way() {
        let event = json!({"type": "postern.request.failed", "data": {
            "method": "PUT", "host": "h", "target": "/", "headers": {}, "bodyBase64": "AAE="}});
        assert!(call(&event).unwrap().contains("printf %s 'AAE=' | base64 --decode | curl"));
        assert_eq!(call(&json!({"type": "whatsapp.message.text", "data": {}})), None);
    }
}
