//! A policy made ready, with its mode.

use policy::attach::{Attached, Origin};
use policy::mode::Mode;
use policy::refusal::Refusal;
use policy::stage::Filter;

/// A decider in the place where it applies. One in mode `Off` is not built at all.
#[derive(Clone, Debug)]
pub struct Guard<T> {
    /// What decides.
    pub decider: T,
    mode: Mode,
    /// Where it was written.
    pub origin: Origin,
}

impl<T> Guard<T> {
    /// Makes a block ready, unless it is off.
    ///
    /// # Errors
    /// What `build` says.
    pub fn build<Ir, E>(
        attached: Option<&Attached<Ir>>,
        build: impl FnOnce(&Ir) -> Result<T, E>,
    ) -> Result<Option<Self>, E> {
        let Some(Attached { ir, mode, origin }) = attached.filter(|attached| attached.mode.runs()) else {
            return Ok(None);
        };
        Ok(Some(Self { decider: build(ir)?, mode: *mode, origin: *origin }))
    }

    /// A guard without a block: what the gateway does by itself.
    pub fn always(decider: T, mode: Mode) -> Self {
        Self { decider, mode, origin: Origin::Default }
    }

    /// Whether it only says what it would do.
    #[must_use]
    pub fn audits(&self) -> bool {
        self.mode == Mode::Audit
    }

    /// Lets a refusal stand, or only records it when the guard audits.
    ///
    /// # Errors
    /// The refusal, when the guard enforces.
    pub fn judge<V>(
        &self,
        filter: Filter,
        decided: Result<V, Refusal>,
        would_refuse: &mut Vec<(Filter, Refusal)>,
    ) -> Result<Option<V>, Refusal> {
        match decided {
            Ok(value) => Ok(Some(value)),
            Err(refusal) if self.audits() => {
                would_refuse.push((filter, refusal));
                Ok(None)
            }
            Err(refusal) => Err(refusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use policy::refusal::Reason;

    use super::*;

    #[test]
    fn a_guard_that_audits_records_and_lets_through() {
        let refusal = || Refusal::new(Reason::AddressDenied, "no");
        let mut recorded = Vec::new();
        let audit = Guard::always((), Mode::Audit);
        assert_eq!(audit.judge(Filter::Addresses, Err::<(), _>(refusal()), &mut recorded), Ok(None));
        assert_eq!(recorded, [(Filter::Addresses, refusal())]);
        let enforce = Guard::always((), Mode::Enforce);
        assert_eq!(enforce.judge(Filter::Addresses, Err::<(), _>(refusal()), &mut recorded), Err(refusal()));
        assert_eq!(recorded.len(), 1);
    }

    #[test]
    fn a_block_that_is_off_is_not_built() {
        let off = Attached { ir: (), mode: Mode::Off, origin: Origin::Rule };
        let built = Guard::build(Some(&off), |&()| Err::<(), _>("broken"));
        assert!(matches!(built, Ok(None)));
    }
}
