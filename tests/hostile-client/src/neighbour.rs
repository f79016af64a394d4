//! A client that does nothing wrong, and looks closely at what it gets.

use alloc::vec::Vec;
use fastrand::Rng;
use interfaces::faas::client::ClientError;
use l4::CapIndex;
use l4re::faas::Session;
use l4re::println;

/// Longest payload in bytes: some travel in messages, some in dataspaces.
const LONGEST: u64 = 1_000;
/// SHA-256 of "abc" (FIPS 180-4, example B.1).
const DIGEST: &[u8] = b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// Invokes `echo` and `hash` in turn; tells whether all results were right.
pub(crate) fn run(registry: CapIndex, rounds: u64) -> bool {
    match Session::open(registry) {
        Ok(session) => work(&session, rounds),
        Err(error) => {
            println!("the neighbour can't register: {error}");
            false
        }
    }
}

fn work(session: &Session, rounds: u64) -> bool {
    if let Err(error) = session.enter_core() {
        println!("the neighbour can't enter its core: {error}");
        return false;
    }
    for name in ["echo", "hash"] {
        if let Err(error) = session.create_from_rom(name) {
            println!("the neighbour can't create {name}: {error}");
            return false;
        }
    }
    let mut random = Rng::with_seed(rounds);
    let mut wrong = 0;
    for round in 0..rounds {
        let outcome = if round % 2 == 0 {
            echo(session, &mut random)
        } else {
            session
                .invoke("hash", b"abc")
                .map(|response| response.bytes.starts_with(DIGEST))
        };
        match outcome {
            Ok(true) => {}
            Ok(false) => {
                wrong += 1;
                println!("round {round}: another result than it must be");
            }
            Err(error) => {
                wrong += 1;
                println!("round {round}: {error}");
            }
        }
    }
    println!("the neighbour got {rounds} results, {wrong} of them WRONG or errors");
    wrong == 0
}

/// Sends random bytes and tells whether they come back.
pub(crate) fn echo(session: &Session, random: &mut Rng) -> Result<bool, ClientError> {
    let bytes: Vec<u8> = (0..random.u64(..LONGEST)).map(|_| random.u64(..) as u8).collect();
    session
        .invoke("echo", &bytes)
        .map(|response| response.bytes == bytes)
}
