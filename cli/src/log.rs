//! The log of a process that serves: JSON on standard error.

use policy::error::chain;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, ParseError};

/// What libraries say of an error that they give to us as well: it is told once, by us, with what it means here. Who
/// wants them names them in `POSTERN_LOG`.
const TOLD_TWICE: &str = "lapin=off,kube_client::client::builder=off";
/// lapin logs the whole of a message that comes back, and with it what tenants' users wrote. Nobody can want that.
const NEVER: &str = "lapin::returned_messages=off";

/// Starts it; `POSTERN_LOG` says what is told.
pub(crate) fn start() {
    let given = std::env::var("POSTERN_LOG").unwrap_or_default();
    let (filter, wrong) = filter(&given);
    // A second subscriber in one process (a test) keeps the first.
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    if let Some(error) = wrong {
        tracing::warn!(given, error = chain(&error), "POSTERN_LOG is no filter, such as info or dataplane=debug");
    }
}

/// The filter, that of `info` for what is none.
fn filter(given: &str) -> (EnvFilter, Option<ParseError>) {
    let with = |given: &str| EnvFilter::try_new(format!("{TOLD_TWICE},{given}"));
    let (filter, wrong) = match with(if given.is_empty() { "info" } else { given }) {
        Ok(filter) => (filter, None),
        Err(error) => (with("info").unwrap_or_default(), Some(error)),
    };
    let never = NEVER.parse().map(|never: Directive| filter.clone().add_directive(never));
    (never.unwrap_or(filter), wrong)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The targets whose errors are told with such a filter.
    fn told(given: &str) -> Vec<&'static str> {
        let (filter, _) = filter(given);
        let written = Written::default();
        let writer = written.clone();
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(log, || {
            tracing::error!(target: "dataplane::event", "dataplane::event");
            tracing::error!(target: "lapin::channel", "lapin::channel");
            tracing::error!(target: "lapin::returned_messages", "lapin::returned_messages");
            tracing::error!(target: "kube_client::client::builder", "kube_client::client::builder");
            tracing::debug!(target: "operator::run", "operator::run");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let targets =
            ["dataplane::event", "lapin::channel", "lapin::returned_messages", "kube_client::client::builder"];
        targets.into_iter().chain(["operator::run"]).filter(|target| text.contains(target)).collect()
    }

    #[test]
    fn an_error_is_told_once_unless_who_reads_wants_more_and_a_message_never() {
        assert_eq!(told(""), ["dataplane::event"]);
        assert_eq!(told("info"), ["dataplane::event"]);
        assert_eq!(told("info,lapin=warn"), ["dataplane::event", "lapin::channel"]);
        assert_eq!(told("lapin=trace,operator=debug"), ["lapin::channel", "operator::run"]);
        assert_eq!(told("error,lapin::returned_messages=trace"), ["dataplane::event"]);
    }

    #[test]
    fn what_is_no_filter_is_told_and_is_info() {
        assert!(filter("info,=,dataplane=loud").1.is_some());
        assert_eq!(told("dataplane=loud"), ["dataplane::event"]);
    }
}
