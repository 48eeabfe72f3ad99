//! Shards by preference, and one behind gRPC.

use std::net::SocketAddr;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;
use crate::event::NewEvent;
use crate::event::replay::{Judge, Judged, Replays};
use crate::event::sample::{envelope, numbered};
use crate::event::spool::operate::{Change, Filter};
use crate::event::spool::replay::DeadLetter;
use crate::event::spool::{Place, Settings};
use crate::health::Health;

/// A judge who lets nothing go.
struct Nobody;

impl Judge for Nobody {
    fn judge(&self, _: &DeadLetter, _: Option<&TenantName>) -> Judged {
        Judged::Stays { reason: "unclaimed", detail: "nobody".to_owned() }
    }
}

/// An authority, and certificates of it in a folder.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    fn identity(&self, role: Role) -> Identity {
        let file = |kind: &str, text: String| {
            let path = self.folder.path().join(format!("{}-{kind}.pem", role.word()));
            std::fs::write(&path, text).unwrap();
            path
        };
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([role.name()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        Identity {
            ca_file: file("ca", self.issuer.pem()),
            certificate_file: file("certificate", certificate.pem()),
            key_file: file("key", key.serialize_pem()),
        }
    }
}

fn ask(sequence: i64) -> Ask {
    Ask { envelope: envelope(sequence), row: None }
}

fn serve(address: SocketAddr, folder: &Path, identity: &Identity) -> (Server, Arc<Shard>) {
    let shard = Arc::new(Shard::open(Settings { beside_broker: true, ..Settings::new(folder) }).unwrap());
    let replays = Arc::new(Replays::new(shard.clone(), Arc::new(Nobody)));
    let served = (shard.clone(), replays);
    (Server::start(address, identity, served, Arc::new(Health::default())).unwrap(), shard)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn far(address: SocketAddr, identity: &Identity) -> NamedShard {
    let address = format!("https://{address}");
    NamedShard::new("spool-0", Reach::Far(Remote::new("spool-0".into(), &address, identity).unwrap()))
}

async fn close(shard: Arc<Shard>) {
    tokio::task::spawn_blocking(|| Arc::into_inner(shard).unwrap().shutdown()).await.unwrap();
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

#[test]
fn a_shard_far_away_says_what_one_beside_says_and_comes_back_by_itself() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (server, shard) = serve(ANY, folder.path(), &authority.identity(Role::Spool));
    let address = server.address;
    let runtime = runtime();
    runtime.block_on(async {
        let gateway = far(address, &authority.identity(Role::Gateway));
        let deliver = far(address, &authority.identity(Role::Deliver));
        assert_eq!(gateway.keep(vec![numbered(10)]).await.unwrap(), [Accepted { sequence: 10, duplicate: false }]);
        assert_eq!(deliver.consult(ask(11)).await, Some(Verdict::Owed));
        let full = Numbered { new: NewEvent { pending_bytes: 1, ..numbered(12).new }, ..numbered(12) };
        let refused = gateway.keep(vec![full]).await;
        assert!(matches!(refused, Err(AcceptError::PendingFull { ref tenant }) if tenant.as_str() == "acme"));
        server.stop();
        assert_eq!(deliver.consult(ask(11)).await, None);
        close(shard).await;
        let (server, shard) = serve(address, folder.path(), &authority.identity(Role::Spool));
        let settled = loop {
            if let Some(verdict) = deliver.consult(ask(11)).await {
                break verdict;
            }
        };
        assert_eq!(settled, Verdict::Owed, "what was kept is on disk");
        server.stop();
        close(shard).await;
    });
}

#[test]
fn a_rotated_certificate_is_taken_up_and_a_broken_one_is_not() {
    use std::sync::atomic::Ordering::Relaxed;
    let (old, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (own, asking) = (old.identity(Role::Spool), old.identity(Role::Gateway));
    let (server, shard) = serve(ANY, folder.path(), &own);
    runtime().block_on(async {
        let gateway = far(server.address, &asking);
        gateway.keep(vec![numbered(10)]).await.unwrap();
        let (shards, counters) = (Shards::new(vec![gateway]), Arc::new(Counters::default()));
        let watching = tokio::spawn(shards.clone().keep_certificate(Watched::new(&asking), counters.clone()));
        let refused = |counters: &Counters| counters.certificates_refused.load(Relaxed);
        // A key that is not the certificate's: what was in force stays, on both sides.
        for identity in [&own, &asking] {
            std::fs::write(&identity.key_file, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        }
        while refused(&counters) == 0 || refused(shard.counters()) == 0 {
            tokio::task::yield_now().await;
        }
        shards.all()[0].keep(vec![numbered(11)]).await.unwrap();
        // Another authority: who has only the old one is out, who has the new one is in.
        let new = Authority::new();
        for (to, role) in [(&own, Role::Spool), (&asking, Role::Gateway)] {
            let from = new.identity(role);
            let Identity { ca_file, certificate_file, key_file } = &to;
            for (from, to) in
                [(from.ca_file, ca_file), (from.certificate_file, certificate_file), (from.key_file, key_file)]
            {
                std::fs::rename(from, to).unwrap();
            }
        }
        while shards.all()[0].keep(vec![numbered(12)]).await.is_err()
            || shard.counters().certificates_loaded.load(Relaxed) == 0
        {}
        let late = far(server.address, &old.identity(Role::Deliver));
        assert_eq!(late.consult(ask(13)).await, None, "the old authority vouches for nobody any more");
        let next = far(server.address, &new.identity(Role::Deliver));
        assert_eq!(next.consult(ask(13)).await, Some(Verdict::Owed));
        watching.abort();
    });
    server.stop();
    runtime().block_on(close(shard));
}

#[test]
fn a_shard_that_comes_back_with_another_store_is_noticed() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let spool = authority.identity(Role::Spool);
    let (server, shard) = serve(ANY, &folder.path().join("one"), &spool);
    let (address, before) = (server.address, shard.store());
    runtime().block_on(async {
        let deliver = far(address, &authority.identity(Role::Deliver));
        let shards = Shards::new(vec![deliver.clone()]);
        assert!(deliver.consult(ask(1)).await.is_some());
        server.stop();
        close(shard).await;
        let (server, shard) = serve(address, &folder.path().join("two"), &spool);
        while deliver.consult(ask(1)).await.is_none() {}
        assert_eq!(shards.replaced(), 1);
        assert!(deliver.consult(ask(1)).await.is_some());
        assert_eq!(shards.replaced(), 1, "it is told once");
        // Who did not know the store before learns of it from what was drained from it.
        let late = far(address, &authority.identity(Role::Deliver));
        let place = Place { store: Some(before), row: 1 };
        assert!(late.consult(Ask { row: Some(place), ..ask(1) }).await.is_some());
        assert_eq!(Shards::new(vec![late]).replaced(), 1);
        server.stop();
        close(shard).await;
    });
}

#[test]
fn an_operator_asks_a_shard_what_it_asks_a_folder_and_nobody_else_may() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (server, shard) = serve(ANY, folder.path(), &authority.identity(Role::Spool));
    runtime().block_on(async {
        shard.keep(vec![numbered(10)]).await.unwrap();
        let remote = |role| {
            let address = format!("https://{}", server.address);
            Remote::new("spool-0".into(), &address, &authority.identity(role)).unwrap()
        };
        let operator = remote(Role::Operate);
        let list = || Operation::List { filter: Filter::default(), after: 0 };
        let Ok(Operated::Listed(found)) = operator.operate(list()).await else { panic!("no list") };
        let Ok(Operated::Shown(Some(shown))) = operator.operate(Operation::Show { row: found[0].row }).await else {
            panic!("not shown")
        };
        assert_eq!((found.len(), &*shown.listed.id), (1, "10"));
        let drop = Change::Drop(Filter { id: Some("10".into()), ..Filter::default() });
        let counted = operator.operate(Operation::Count(drop.clone())).await;
        assert!(matches!(counted, Ok(Operated::Counted(1))), "{counted:?}");
        for role in [Role::Gateway, Role::Deliver, Role::Spool, Role::All] {
            assert!(matches!(remote(role).operate(list()).await, Err(OperateError::Away(_))), "{role:?}");
        }
        let changed = operator.operate(Operation::Change(drop)).await;
        assert!(matches!(changed, Ok(Operated::Changed(1))), "{changed:?}");
    });
    server.stop();
    runtime().block_on(close(shard));
}

#[test]
fn a_gateway_hears_what_a_tenant_that_sends_has_elsewhere() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (server, shard) = serve(ANY, folder.path(), &authority.identity(Role::Spool));
    runtime().block_on(async {
        let gateway = far(server.address, &authority.identity(Role::Gateway));
        gateway.keep(vec![numbered(10)]).await.unwrap();
        let (shards, depths) = (Shards::new(vec![gateway]), Depths::default());
        let (acme, globex) = (TenantName::parse("acme").unwrap(), TenantName::parse("globex").unwrap());
        assert_eq!(depths.of(&acme), 0, "nothing is known at first");
        depths.ask(&shards).await;
        assert_eq!((depths.of(&acme), depths.of(&globex)), (shard.depths(std::slice::from_ref(&acme))[0], 0));
        assert!(depths.of(&acme) > 0);
        server.stop();
        depths.ask(&shards).await;
        assert!(depths.of(&acme) > 0, "a shard that is away has what it had");
        // Twice without a word of it: it is forgotten.
        depths.ask(&shards).await;
        depths.ask(&shards).await;
        assert_eq!(depths.of(&acme), 0);
    });
    runtime().block_on(close(shard));
}

#[test]
fn posts_that_travel_together_are_answered_apart() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (server, shard) = serve(ANY, folder.path(), &authority.identity(Role::Spool));
    runtime().block_on(async {
        let gateway = far(server.address, &authority.identity(Role::Gateway));
        let full = |sequence| NewEvent { pending_bytes: 1, ..numbered(sequence).new };
        let post = |sequence: i64| {
            let new = if sequence % 10 == 0 { full(sequence) } else { numbered(sequence).new };
            gateway.keep(vec![Numbered { new, ..numbered(sequence) }])
        };
        let kept = futures_util::future::join_all((1..=300).map(post)).await;
        for (sequence, kept) in (1..=300).zip(kept) {
            match kept {
                Ok(accepted) => assert_eq!(accepted, [Accepted { sequence, duplicate: false }]),
                Err(AcceptError::PendingFull { .. }) => assert_eq!(sequence % 10, 0),
                Err(other) => panic!("{sequence}: {other}"),
            }
        }
    });
    assert_eq!(shard.counters().spooled.load(std::sync::atomic::Ordering::Relaxed), 270);
    server.stop();
}

#[test]
fn who_has_not_the_role_or_no_certificate_of_the_authority_learns_nothing() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (server, shard) = serve(ANY, folder.path(), &authority.identity(Role::Spool));
    runtime().block_on(async {
        let gateway = far(server.address, &authority.identity(Role::Gateway));
        assert_eq!(gateway.consult(ask(1)).await, None, "a gateway asks nothing of deliveries");
        let deliver = far(server.address, &authority.identity(Role::Deliver));
        assert!(deliver.keep(vec![numbered(1)]).await.is_err(), "a deliver keeps nothing that is new");
        // The right role, and the right authority for the server, but signed by somebody else.
        let other = Authority::new();
        let stranger = other.identity(Role::Gateway);
        let forged = Identity { ca_file: authority.identity(Role::Gateway).ca_file, ..stranger };
        assert!(far(server.address, &forged).keep(vec![numbered(1)]).await.is_err());
        // Who is no shard is not believed.
        let (impostor, kept) = serve(ANY, &folder.path().join("other"), &authority.identity(Role::Gateway));
        assert!(far(impostor.address, &authority.identity(Role::Gateway)).keep(vec![numbered(1)]).await.is_err());
        impostor.stop();
        close(kept).await;
    });
    assert!(shard.queue().unwrap().heads().unwrap().is_empty());
    server.stop();
}

#[test]
fn one_more_shard_moves_only_its_share_of_the_partitions() {
    let shard = |name: &str, folder: &Path| {
        let shard = Shard::open(Settings::new(folder.join(name))).unwrap();
        NamedShard::new(name, Reach::Here(Arc::new(shard)))
    };
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<_> = ["spool-0", "spool-1", "spool-2"].iter().map(|name| shard(name, folder.path())).collect();
    let (two, three) = (Shards::new(all.iter().take(2).cloned().collect()), Shards::new(all));
    let first = |shards: &Shards, partition| shards.for_partition(partition).first().map(|shard| shard.name.clone());
    let moved = (0..300).filter(|partition| first(&two, *partition) != first(&three, *partition));
    let moved: Vec<_> = moved.map(|partition| first(&three, partition)).collect();
    assert!(moved.iter().all(|now| now.as_deref() == Some("spool-2")));
    assert!((50..150).contains(&moved.len()), "{}", moved.len());
}
