//! What the charts render is what a real API server takes: no field that it does not know, no value that it refuses.

use std::path::Path;
use std::process::Command;

use tests::kind::helm;
use tests::kubernetes::Kubernetes;

/// The objects of a chart in a shape; without those of the Prometheus operator, whose definitions are not here.
fn rendered(shape: &Path) -> String {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/postern");
    let mut command = Command::new(helm().unwrap());
    command.args(["template", "postern", chart, "--namespace", "postern-system", "--kube-version", "1.36"]);
    let output = command.arg("--values").arg(shape).output().unwrap();
    assert!(output.status.success(), "{}: {}", shape.display(), String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let ours = text.split("\n---").filter(|document| !document.contains("monitoring.coreos.com"));
    ours.collect::<Vec<_>>().join("\n---")
}

#[test]
fn an_api_server_takes_every_shape_of_the_chart() {
    let kubernetes = Kubernetes::start().unwrap();
    let namespaces = ["postern-system", "acme", "globex"]
        .map(|name| format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"));
    kubernetes.apply(&namespaces.concat()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let shapes = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/postern/ci"));
    let mut tried = 0;
    for shape in std::fs::read_dir(shapes).unwrap() {
        let (shape, page) = (shape.unwrap().path(), folder.path().join("page.yaml"));
        std::fs::write(&page, rendered(&shape)).unwrap();
        let page = page.to_string_lossy().into_owned();
        let taken = kubernetes.kubectl(&["apply", "--dry-run=server", "--validate=strict", "-f", &page]);
        let said = taken.unwrap_or_else(|error| panic!("{}: {error}", shape.display()));
        assert!(said.contains("deployment.apps/"), "{said}");
        tried += 1;
    }
    assert!(tried >= 5, "{tried} shapes");
}
