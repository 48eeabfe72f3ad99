//! kubectl on a cluster, as its administrator.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How often a server is asked that has no time to answer: on a machine that does much at once it may take longer than the
/// half minute that it gives itself.
const TRIES: usize = 4;

/// The program, and the file by which it finds its cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    /// Where kubectl is.
    pub program: PathBuf,
    /// The file.
    pub kubeconfig: PathBuf,
}

impl Kubectl {
    /// Runs kubectl; what it prints.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> io::Result<String> {
        self.kubectl_with(arguments, "")
    }

    fn kubectl_with(&self, arguments: &[&str], input: &str) -> io::Result<String> {
        for _ in 1..TRIES {
            match self.once(arguments, input) {
                Err(error) if error.to_string().contains("Error from server (Timeout)") => {}
                answered => return answered,
            }
        }
        self.once(arguments, input)
    }

    fn once(&self, arguments: &[&str], input: &str) -> io::Result<String> {
        let mut command = Command::new(&self.program);
        // What it remembers of a server is that cluster's.
        let home = self.kubeconfig.parent().map(PathBuf::from).unwrap_or_default();
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", home).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(io::Error::other(format!("kubectl {}: {said}", arguments.join(" "))))
    }

    /// Applies manifests, and makes the namespaces that they name.
    ///
    /// # Errors
    /// When the server refuses one.
    pub fn apply(&self, manifests: &str) -> io::Result<()> {
        let documents = operator::gather::yaml::documents(manifests).map_err(io::Error::other)?;
        let mut namespaces: Vec<&str> = documents
            .iter()
            .filter_map(|document| document.value.pointer("/metadata/namespace").and_then(|name| name.as_str()))
            .collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        let namespace = |name: &&str| format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
        let mut all: String = namespaces.iter().map(namespace).collect();
        all.push_str("---\n");
        all.push_str(manifests);
        let apply = ["apply", "--server-side", "--force-conflicts", "--validate=false", "-f", "-"];
        self.kubectl_with(&apply, &all).map(drop)
    }

    /// One object as JSON.
    ///
    /// # Errors
    /// When it is not there.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> io::Result<serde_json::Value> {
        let text = self.kubectl(&["get", kind, name, "-n", namespace, "-o", "json", "--show-managed-fields"])?;
        serde_json::from_str(&text).map_err(io::Error::other)
    }
}
