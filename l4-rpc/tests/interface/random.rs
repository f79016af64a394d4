//! Messages and values that nobody would think of.

use l4::CapIndex;
use proptest::prelude::*;

use crate::sample::{SampleClient, cap, sample};
use crate::strange::{parrot, send_raw};

proptest! {
    #[test]
    fn random_requests_never_panic(
        operation in 0u64..10,
        words in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..20], 0..62),
        slots in 0usize..4,
    ) {
        let mut message = vec![operation];
        message.extend(words);
        let slots: Vec<CapIndex> = (0..slots as u32).map(CapIndex).collect();
        let (label, _) = send_raw(0x7777, &message, &slots);
        prop_assert!(label.is_none_or(|label| label <= 1));
    }

    #[test]
    fn random_answers_never_panic(
        label in -50i64..3,
        words in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..20], 0..63),
        slots in 0usize..5,
    ) {
        let mut buffer = [0; 100];
        let client = SampleClient::new(parrot(label, &words, slots));
        let _ = client.describe("", &[], 0);
        let _ = client.exchange(cap(1), 1, None);
        let _ = client.add(0, 0, [0; 2], true);
        let _ = client.length("", &[], None);
        let _ = client.read(0, &mut buffer);
        let _ = client.text(0);
    }

    #[test]
    fn every_value_arrives(
        name in "\\PC{0,40}",
        data in prop::collection::vec(any::<u8>(), 0..200),
        number in 0..u64::MAX / 2,
    ) {
        let gate = sample();
        let client = SampleClient::new(&gate);
        let sum: u64 = data.iter().map(|byte| u64::from(*byte)).sum();
        if name != "refuse" {
            prop_assert_eq!(client.describe(&name, &data, number), Ok((name.to_uppercase(), number + sum)));
        }
        prop_assert_eq!(client.length(&name, &data, None), Ok([name.len() as u64, sum, 0]));
    }
}
