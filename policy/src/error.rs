//! How an error is told: with its causes, in one line.

use std::error::Error;

/// An error with its causes: `could not decode the IR: invalid type`. A cause that is in the text already is not told
/// again, for some libraries write theirs into their own text and name it as the cause too.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failed {
        #[error("could not write acme.json")]
        Write(#[source] std::io::Error),
        #[error("asked in vain: {0}")]
        Asked(#[source] std::io::Error),
        #[error("the last good is not kept")]
        Kept(#[source] Box<Failed>),
    }

    #[test]
    fn every_cause_is_told_once() {
        let full = || std::io::Error::other("no space left");
        let kept = Failed::Kept(Box::new(Failed::Write(full())));
        assert_eq!(chain(&kept), "the last good is not kept: could not write acme.json: no space left");
        assert_eq!(chain(&Failed::Asked(full())), "asked in vain: no space left");
    }
}
