//! One tenant at a time: compare, read, fall back, build, keep, swap.

use std::cell::LazyCell;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::{HashMap, HashSet};
use policy::error::chain;
use policy::names::{ObjectRef, TenantName};
use policy::problem::Severity;
use policy::snapshot::{Applies, Blob, ObjectEntry, ObjectIr, ObjectState, Snapshot, TenantSnapshot};
use policy::upstream::ServicePort;
use policy::{route, webhook_source};

use super::Volume;
use super::holders::Holders;
use super::kept_file::KeptFile;
use super::volume::Loaded;
use crate::runtime::{Builder, Object, Runtime, TenantRuntime};

/// What a dataplane could not apply as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// Which object.
    pub object: ObjectRef,
    /// Warning: applied, degraded. Error: not applied, the object refuses.
    pub severity: Severity,
    /// Why.
    pub reason: String,
}

/// What came of a snapshot.
#[derive(Debug, Default)]
pub struct Applied {
    /// Tenants that were swapped.
    pub swapped: Vec<TenantName>,
    /// Tenants that are gone.
    pub removed: Vec<TenantName>,
    /// What was not applied as sent.
    pub nacks: Vec<Nack>,
    /// Objects that run traffic settings of their last good.
    pub last_good: Vec<ObjectRef>,
    /// Objects of which a part answers `not_programmed`.
    pub not_programmed: Vec<ObjectRef>,
}

/// An object that was deleted and made anew is another one: its name alone is no key.
type ObjectKey = (ObjectRef, Arc<str>);

#[derive(Debug)]
pub(super) struct Kept {
    /// As it was sent, with traffic settings of the last good in place of broken ones; without its objects while the volume has them.
    pub(super) snapshot: TenantSnapshot,
    /// Whether the volume has the objects. They are most of what a tenant takes, and are needed when one breaks.
    stored: bool,
    runtime: Arc<TenantRuntime>,
    pub(super) standing: Standing,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) last_good: Vec<ObjectRef>,
    pub(super) not_programmed: Vec<ObjectRef>,
}

impl Kept {
    /// The volume has its objects: they need not be here too.
    fn leave_to_volume(&mut self) {
        (self.snapshot.objects, self.stored) = (Vec::new(), true);
    }
}

fn without_objects(snapshot: &TenantSnapshot) -> TenantSnapshot {
    let TenantSnapshot { tenant, revision, hash, base, rate_limits, objects: _ } = snapshot;
    let (tenant, base, rate_limits) = (tenant.clone(), base.clone(), rate_limits.clone());
    TenantSnapshot { tenant, revision: *revision, hash: *hash, base, rate_limits, objects: Vec::new() }
}

/// Returns whether an object says that parts of it have to come from its last good.
fn needs_last_good(ir: &ObjectIr) -> bool {
    match ir {
        ObjectIr::Route(route) => {
            let broken = route.rules.iter().any(|rule| !rule.broken_traffic.is_empty());
            broken || route.broken_hostnames || route.broken_matches
        }
        ObjectIr::WebhookSource(source) => !source.broken_traffic.is_empty(),
    }
}

/// Keeps what was applied, and swaps the runtime that the cores read.
#[derive(Debug)]
pub struct Keeper {
    pub(super) tenants: HashMap<TenantName, Kept>,
    pub(super) builder: Builder,
    live: Arc<ArcSwap<Runtime>>,
    pub(super) volume: Option<Volume>,
    /// The Services that a publisher told of since it was said what is here, until it has said everything.
    pub(super) told: Option<HashSet<ServicePort>>,
    /// Files of the volume that could not be read, until somebody has said everything: what is not kept anew by then goes.
    pub(super) unread: Vec<KeptFile>,
    /// Which tenant held which identifier.
    pub(super) holders: Arc<Holders>,
}

impl Keeper {
    /// A keeper that serves what the volume kept, until a snapshot comes.
    #[must_use]
    pub fn new(builder: Builder, live: Arc<ArcSwap<Runtime>>, volume: Option<Volume>) -> Self {
        let (unread, holders) = (Vec::new(), Arc::<Holders>::default());
        let mut keeper = Self { tenants: HashMap::new(), builder, live, volume, told: None, unread, holders };
        let loaded = keeper.volume.as_ref().map(Volume::load).unwrap_or_default();
        let Loaded { tenants, endpoints, holders, errors, unread } = loaded;
        holders.into_iter().for_each(|record| keeper.holders.resume(record));
        keeper.unread = unread;
        for error in errors {
            tracing::warn!(error = chain(&error), "something of the last good is lost");
        }
        keeper.builder.endpoints(&endpoints);
        for snapshot in tenants {
            let mut applied = Applied::default();
            let mut kept = keeper.build(&snapshot, &mut applied);
            kept.leave_to_volume();
            keeper.holders.holds(&snapshot.tenant, &snapshot.base.identifiers, now_ms());
            keeper.tenants.insert(snapshot.tenant, kept);
        }
        keeper.swap();
        keeper
    }

    /// The highest term that was ever applied here; a publisher of this process starts above it.
    #[must_use]
    pub fn highest_term(&self) -> u64 {
        self.tenants.values().map(|kept| kept.snapshot.revision.term).max().unwrap_or_default()
    }

    /// What is in force, the last good in place of what is broken: where a publisher of this process begins.
    #[must_use]
    pub fn in_force(&self) -> Snapshot {
        let whole = |(name, kept): (&TenantName, &Kept)| {
            Arc::new(TenantSnapshot { objects: self.objects(name), ..kept.snapshot.clone() })
        };
        Snapshot { tenants: self.tenants.iter().map(whole).collect(), endpoints: Vec::new() }
    }

    /// Applies a complete set: tenants that are not in it are gone.
    pub fn apply(&mut self, snapshot: &Snapshot) -> Applied {
        let mut applied = Applied::default();
        self.builder.endpoints(&snapshot.endpoints);
        for tenant in &snapshot.tenants {
            self.apply_tenant(tenant, &mut applied);
        }
        self.remove_missing(snapshot, &mut applied);
        self.forget_unread();
        self.hold_only_what_is_here();
        self.keep_holders();
        for kept in self.tenants.values() {
            applied.last_good.extend(kept.standing.last_good.iter().cloned());
            applied.not_programmed.extend(kept.standing.not_programmed.iter().cloned());
        }
        self.swap();
        applied
    }

    fn apply_tenant(&mut self, snapshot: &TenantSnapshot, applied: &mut Applied) {
        if self.take(snapshot, applied) {
            self.keep(&snapshot.tenant);
        }
    }

    /// Makes a tenant ready, to be in force with the next swap. Whether anything is different.
    pub(super) fn take(&mut self, snapshot: &TenantSnapshot, applied: &mut Applied) -> bool {
        if let Some(kept) = self.tenants.get_mut(&snapshot.tenant) {
            if snapshot.revision < kept.snapshot.revision {
                let object = ObjectRef::new(policy::names::Kind::Tenant, "", snapshot.tenant.as_str());
                let reason = format!("revision {} is older than {}", snapshot.revision, kept.snapshot.revision);
                applied.nacks.push(Nack { object, severity: Severity::Error, reason });
                return false;
            }
            if snapshot.hash == kept.snapshot.hash {
                kept.snapshot.revision = snapshot.revision;
                return false;
            }
        }
        let kept = self.build(snapshot, applied);
        self.holders.holds(&snapshot.tenant, &snapshot.base.identifiers, now_ms());
        self.tenants.insert(snapshot.tenant.clone(), kept);
        applied.swapped.push(snapshot.tenant.clone());
        true
    }

    /// Gives a tenant to the volume. It is served all the same when that fails: a full disk must not stop a change.
    pub(super) fn keep(&mut self, tenant: &TenantName) {
        let Some((kept, volume)) = self.tenants.get_mut(tenant).zip(self.volume.as_ref()) else { return };
        match volume.keep(&kept.snapshot) {
            Ok(()) => kept.leave_to_volume(),
            Err(error) => tracing::warn!(%tenant, error = chain(&error), "a tenant of the last good could not be kept"),
        }
    }

    /// The objects of a tenant as it is in force, from here or from the volume.
    fn objects(&self, tenant: &TenantName) -> Vec<ObjectEntry> {
        let Some(kept) = self.tenants.get(tenant) else { return Vec::new() };
        let stored = self.volume.as_ref().filter(|_| kept.stored).map(|volume| volume.tenant(tenant));
        match stored {
            None => kept.snapshot.objects.clone(),
            Some(Ok(snapshot)) => snapshot.objects,
            Some(Err(error)) => {
                let error = chain(&error);
                tracing::error!(%tenant, error, "the last good cannot be read back; what breaks now has none");
                Vec::new()
            }
        }
    }

    /// Forgets a tenant that is gone.
    pub(super) fn forget(&mut self, name: &TenantName) {
        self.tenants.remove(name);
        self.holders.gone(name, now_ms());
        self.builder.forget(name);
        if let Some(volume) = &self.volume {
            volume.forget(name);
        }
    }

    /// Which tenant held which identifier, for a replay.
    #[must_use]
    pub fn holders(&self) -> Arc<Holders> {
        self.holders.clone()
    }

    /// Other processes accept events too: what happened while this one was down was in force there.
    pub fn begins_anew(&self) {
        self.holders.interrupted();
    }

    /// All that there is was given: a tenant that is not here holds nothing.
    pub(super) fn hold_only_what_is_here(&self) {
        for tenant in self.holders.tenants().iter().filter(|tenant| !self.tenants.contains_key(*tenant)) {
            self.holders.gone(tenant, now_ms());
        }
        self.holders.complete(now_ms());
    }

    pub(super) fn keep_holders(&self) {
        let unwritten = self.volume.as_ref().and_then(|volume| Some((volume, self.holders.unwritten()?)));
        if let Some((volume, record)) = unwritten
            && let Err(error) = volume.keep_holders(&record)
        {
            tracing::warn!(error = chain(&error), "the record of who held which identifier could not be written");
        }
    }

    fn build(&self, snapshot: &TenantSnapshot, applied: &mut Applied) -> Kept {
        // Only what is broken asks for them.
        let before = LazyCell::new(|| self.last_good_blobs(&snapshot.tenant));
        let mut standing = Standing::default();
        let mut objects = Vec::with_capacity(snapshot.objects.len());
        let mut entries = Vec::with_capacity(snapshot.objects.len());
        for entry in &snapshot.objects {
            let key = (entry.object.clone(), entry.uid.clone());
            let last_good = || before.get(&key).and_then(|blob| blob.decode::<ObjectIr>().ok());
            let state = self.build_object(snapshot, entry, last_good, (applied, &mut standing), &mut objects);
            entries.push(ObjectEntry { state, ..entry.clone() });
        }
        let runtime = Arc::new(self.builder.tenant(snapshot, &objects));
        let snapshot = TenantSnapshot { objects: entries, ..without_objects(snapshot) };
        Kept { snapshot, stored: false, runtime, standing }
    }

    /// Makes an object ready: its current security, with the traffic settings of its last good where it needs them. What
    /// cannot be read refuses, where it answered before and where it would answer now. Returns what is to be kept.
    fn build_object(
        &self,
        snapshot: &TenantSnapshot,
        entry: &ObjectEntry,
        last_good: impl Fn() -> Option<ObjectIr>,
        (applied, standing): (&mut Applied, &mut Standing),
        objects: &mut Vec<Object>,
    ) -> ObjectState {
        if let ObjectState::Compiled(blob) = &entry.state {
            match self.joined(snapshot, entry, blob, &last_good, objects) {
                Ok((applies, kept)) => {
                    match applies {
                        Applies::Current => {}
                        Applies::LastGood => standing.last_good.push(entry.object.clone()),
                        Applies::NotProgrammed => standing.not_programmed.push(entry.object.clone()),
                    }
                    return ObjectState::Compiled(kept);
                }
                Err(reason) => {
                    applied.nacks.push(Nack { object: entry.object.clone(), severity: Severity::Error, reason });
                }
            }
        }

        standing.not_programmed.push(entry.object.clone());
        objects.push(Object::NotProgrammed(entry.object.clone(), entry.footprint.clone()));
        let refusing = last_good().map(|last| match last {
            ObjectIr::Route(last) => ObjectIr::Route(route::last_good::refusing(&last)),
            ObjectIr::WebhookSource(last) => {
                ObjectIr::WebhookSource(Box::new(webhook_source::last_good::refusing(&last)))
            }
        });
        let Some((blob, ir)) = refusing.and_then(|ir| Some((Blob::encode(&ir).ok()?, ir))) else {
            return ObjectState::Broken;
        };
        match self.builder.object(snapshot, entry, ir) {
            Ok(object) => {
                objects.push(object);
                ObjectState::Compiled(blob)
            }
            Err(_) => ObjectState::Broken,
        }
    }

    /// Joins an object with its last good and makes it ready. Returns which part applies, and the blob to keep.
    fn joined(
        &self,
        snapshot: &TenantSnapshot,
        entry: &ObjectEntry,
        blob: &Blob,
        last_good: &impl Fn() -> Option<ObjectIr>,
        objects: &mut Vec<Object>,
    ) -> Result<(Applies, Blob), String> {
        let ir: ObjectIr = blob.decode().map_err(|error| chain(&error))?;
        let last = if needs_last_good(&ir) { last_good() } else { None };
        let namespace = &entry.object.namespace;
        let (ir, applies) = match (ir, &last) {
            (ObjectIr::Route(ir), Some(ObjectIr::Route(last))) => {
                let (ir, applies) = route::last_good::join(ir, Some(last), namespace);
                (ObjectIr::Route(ir), applies)
            }
            (ObjectIr::Route(ir), Some(ObjectIr::WebhookSource(_)) | None) => {
                let (ir, applies) = route::last_good::join(ir, None, namespace);
                (ObjectIr::Route(ir), applies)
            }
            (ObjectIr::WebhookSource(ir), Some(ObjectIr::WebhookSource(last))) => {
                let (ir, applies) = webhook_source::last_good::join(*ir, Some(last), namespace);
                (ObjectIr::WebhookSource(Box::new(ir)), applies)
            }
            (ObjectIr::WebhookSource(ir), Some(ObjectIr::Route(_)) | None) => {
                let (ir, applies) = webhook_source::last_good::join(*ir, None, namespace);
                (ObjectIr::WebhookSource(Box::new(ir)), applies)
            }
        };
        let kept = if last.is_some() { Blob::encode(&ir).map_err(|error| chain(&error))? } else { blob.clone() };
        let unknown = matches!(&ir, ObjectIr::Route(route) if route.broken_matches || route.broken_hostnames);
        objects.push(self.builder.object(snapshot, entry, ir).map_err(|error| chain(&error))?);
        if unknown {
            objects.push(Object::NotProgrammed(entry.object.clone(), entry.footprint.clone()));
        }
        Ok((applies, kept))
    }

    fn last_good_blobs(&self, tenant: &TenantName) -> HashMap<ObjectKey, Blob> {
        let blob = |ObjectEntry { object, uid, state, .. }| match state {
            ObjectState::Compiled(blob) => Some(((object, uid), blob)),
            ObjectState::Broken => None,
        };
        self.objects(tenant).into_iter().filter_map(blob).collect()
    }

    fn remove_missing(&mut self, snapshot: &Snapshot, applied: &mut Applied) {
        let present: HashSet<&TenantName> = snapshot.tenants.iter().map(|tenant| &tenant.tenant).collect();
        applied.removed = self.tenants.keys().filter(|name| !present.contains(name)).cloned().collect();
        for name in &applied.removed {
            self.forget(name);
        }
    }

    pub(super) fn swap(&self) {
        let tenants = self.tenants.values().map(|kept| kept.runtime.clone());
        self.live.store(Arc::new(self.builder.runtime(tenants)));
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
