//! SIGTERM finishes what is in flight.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use tests::client::{Client, get};
use tests::gateway::Gateway;
use tests::upstream::{Reply, Upstream};

use super::{HOST, acme, start};

#[test]
fn a_request_in_flight_is_finished_and_the_process_ends_well() {
    let (asked, was_asked) = channel();
    let (go, may_go) = channel::<()>();
    let (asked, may_go) = (Mutex::new(asked), Mutex::new(may_go));
    let upstream = Upstream::start(move |_| {
        let _ = asked.lock().unwrap().send(());
        let _ = may_go.lock().unwrap().recv();
        Reply::Status(200, "finished".to_owned())
    })
    .unwrap();
    let mut gateway = start(&upstream, "");
    let mut idle = Client::connect(gateway.address).unwrap();
    let mut client = Client::connect(gateway.address).unwrap();
    client.send(&get(HOST, "/slow").bytes()).unwrap();
    was_asked.recv().unwrap();
    let address = gateway.address;
    let ended = std::thread::spawn(move || (gateway.terminate().unwrap(), gateway));
    assert!(idle.closed(), "an idle connection is closed");
    go.send(()).unwrap();
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "finished"));
    assert_eq!(answer.header("connection"), Some("close"));
    let (code, _gateway) = ended.join().unwrap();
    assert_eq!(code, Some(0));
    assert!(get(HOST, "/").send(address).is_err());
}

#[test]
fn a_process_whose_broker_is_away_ends_well_too() {
    let upstream = Upstream::echo().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (settings, password) = (folder.path().join("settings.yaml"), folder.path().join("password"));
    std::fs::write(&password, "guest").unwrap();
    // Nobody listens on port 1.
    let broker =
        format!("broker: {{addresses: ['amqp://127.0.0.1:1'], user: guest, passwordFile: {}}}", password.display());
    std::fs::write(&settings, broker).unwrap();
    let more = ["--cores", "1", "--settings", settings.to_str().unwrap()];
    let mut gateway = Gateway::start_with(&acme(&upstream, ""), &more).unwrap();
    let _ = gateway.wait_printed("the broker cannot be used");
    assert_eq!(gateway.terminate().unwrap(), Some(0));
    assert!(!gateway.printed().contains("a task that must run has ended"), "{}", gateway.printed());
}
