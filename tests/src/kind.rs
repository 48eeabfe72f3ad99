//! A cluster of kind on a Docker engine, made by the commands that the README tells, ended with the test.
//!
//! The commands run as they are written, with programs on PATH that add what a test needs: a name and ports of its own,
//! and images that were built here, because none can be pulled everywhere.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::gateway::free_address;
use crate::kubectl::Kubectl;

/// The ports of this machine in kind-config.yaml.
const PORTS: [&str; 2] = ["8080", "9901"];
/// The project's own image, without a tag.
pub const IMAGE: &str = "ghcr.io/postern-dev/postern";
/// Images of what the chart's demo runs.
const DEMO: [&str; 2] = ["postern-test/rabbitmq:local", "postern-test/redis:local"];

/// Why there can be no cluster here, if so.
#[must_use]
pub fn engine() -> Option<String> {
    if let Ok(why) = std::env::var("POSTERN_NO_DOCKER") {
        return Some(why);
    }
    match Command::new("docker").arg("info").output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("docker: {error}")),
    }
}

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a script of `servers/` prints.
fn fetched(script: &str, arguments: &[&str]) -> io::Result<String> {
    let mut command = Command::new(tree().join("tests/servers").join(script));
    said(script, command.args(arguments).stderr(Stdio::inherit()).output()?)
}

fn said(what: &str, output: Output) -> io::Result<String> {
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        return Ok(printed);
    }
    Err(io::Error::other(format!("{what}: {printed}\n{}", String::from_utf8_lossy(&output.stderr))))
}

/// A cluster to be, or that is.
pub struct Kind {
    name: String,
    folder: tempfile::TempDir,
    path: String,
    kubectl: Kubectl,
    /// Where this machine's port of the gateway's Service is.
    pub requests: SocketAddr,
}

/// Helm, built once.
///
/// # Errors
/// When it cannot be had.
pub fn helm() -> io::Result<PathBuf> {
    Ok(PathBuf::from(fetched("fetch-kind", &[])?).join("helm"))
}

impl Kind {
    /// Finds or builds the programs and the node's image. There is no cluster yet: a command makes it.
    ///
    /// # Errors
    /// When one cannot be had.
    pub fn prepare() -> io::Result<Self> {
        let node = fetched("kind/node-image", &[])?;
        let kubernetes = PathBuf::from(fetched("fetch-kubernetes", &["kubectl"])?);
        let programs = fetched("fetch-kind", &[])?;
        let folder = tempfile::tempdir()?;
        let name = format!("postern-test-{}", std::process::id());
        let kubeconfig = folder.path().join("kubeconfig");
        let kubectl = Kubectl { program: kubernetes.join("kubectl"), kubeconfig };
        let own = folder.path().join("bin");
        let before = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{}:{programs}:{before}", own.display(), kubernetes.display());
        let (requests, admin) = (free_address()?, free_address()?);
        let mut kind = Self { name, folder, path, kubectl, requests };
        kind.write_config(requests, admin)?;
        kind.write_programs(&own, &programs, &node)?;
        Ok(kind)
    }

    /// The README's configuration with free ports.
    fn write_config(&mut self, requests: SocketAddr, admin: SocketAddr) -> io::Result<()> {
        let mut config = fs::read_to_string(tree().join("kind-config.yaml"))?;
        for (written, free) in PORTS.iter().zip([requests, admin]) {
            config = config.replace(&format!("hostPort: {written}"), &format!("hostPort: {}", free.port()));
        }
        fs::write(self.folder.path().join("kind-config.yaml"), config)
    }

    /// Programs before the real ones, which add to what they are asked.
    fn write_programs(&self, own: &Path, programs: &str, node: &str) -> io::Result<()> {
        fs::create_dir(own)?;
        let docker = said("command -v docker", Command::new("sh").args(["-c", "command -v docker"]).output()?)?;
        let config = self.folder.path().join("kind-config.yaml");
        let (name, config) = (&self.name, config.display());
        let builder = "--network host --build-arg BUILDER=postern-test/builder";
        let profile = std::env::var("POSTERN_IMAGE_PROFILE").unwrap_or_else(|_| "dev".to_owned());
        let [rabbitmq, redis] = DEMO;
        let scripts = [
            (
                "kind",
                format!(
                    "case \"$1 $2\" in\n'create cluster') set -- \"$@\" --image {node} --config {config} ;;\nesac
exec {programs}/kind \"$@\" --name {name}"
                ),
            ),
            (
                "docker",
                format!(
                    "case \"$1\" in\nbuild) shift; set -- build {builder} --build-arg PROFILE={profile} \"$@\" ;;\nesac
DOCKER_BUILDKIT=1 exec {docker} \"$@\""
                ),
            ),
            (
                "helm",
                format!(
                    "case \"$*\" in\n*charts/postern\\ *) set -- \"$@\" --set demo.rabbitmqImage={rabbitmq} --set demo.redisImage={redis} ;;\nesac
exec {programs}/helm \"$@\""
                ),
            ),
        ];
        for (program, script) in scripts {
            let path = own.join(program);
            fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    /// Runs a line as a user types it at the top of the tree; what it prints.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn run(&self, line: &str) -> io::Result<String> {
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(tree()).env("PATH", &self.path).stdin(Stdio::null());
        command.env("KUBECONFIG", &self.kubectl.kubeconfig).env("HELM_CACHE_HOME", self.folder.path());
        said(line, command.output()?)
    }

    /// Builds what the chart's demo runs and puts it into the node.
    ///
    /// # Errors
    /// When it cannot be built or loaded.
    pub fn load_demo(&self) -> io::Result<()> {
        self.run(&format!("kind load docker-image {}", DEMO.join(" "))).map(drop)
    }

    /// Builds the image of an earlier revision, with the tag `earlier`, and puts it into the node. The tree of then.
    ///
    /// # Errors
    /// When there is no such revision, or it cannot be built or loaded.
    pub fn earlier(&self, revision: &str) -> io::Result<tempfile::TempDir> {
        let folder = tempfile::tempdir()?;
        let (tree, image) = (folder.path().display(), format!("{IMAGE}:earlier"));
        self.run(&format!("git archive {revision} | tar -x -m -C {tree}"))?;
        // What was built of it is kept apart, and its files are new: cargo compares times, not what they say.
        self.run(&format!("docker build --build-arg BUILDKIT_CACHE_MOUNT_NS=earlier -t {image} {tree}"))?;
        self.run(&format!("kind load docker-image {image}"))?;
        Ok(folder)
    }

    /// Runs something in the node.
    ///
    /// # Errors
    /// When it fails.
    pub fn node(&self, script: &str) -> io::Result<String> {
        let node = format!("{}-control-plane", self.name);
        said(script, Command::new("docker").args(["exec", &node, "sh", "-c", script]).output()?)
    }

    /// The address by which the node, and what runs in it, reaches this machine.
    ///
    /// # Errors
    /// When the engine does not say.
    pub fn host(&self) -> io::Result<IpAddr> {
        let node = format!("{}-control-plane", self.name);
        let format = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}";
        let gateway = said("docker inspect", Command::new("docker").args(["inspect", "-f", format, &node]).output()?)?;
        gateway.parse().map_err(io::Error::other)
    }
}

impl Deref for Kind {
    type Target = Kubectl;

    fn deref(&self) -> &Kubectl {
        &self.kubectl
    }
}

impl Drop for Kind {
    fn drop(&mut self) {
        let _ = self.run("kind delete cluster");
    }
}

/// Builds the images that a test cluster is given instead of pulled ones, and the one that builds the project's own.
///
/// # Errors
/// When one cannot be built.
pub fn build_images() -> io::Result<()> {
    fetched("images/build", &[]).map(drop)
}
