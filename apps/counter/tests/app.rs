//! Each test runs twice: natively, and as wasm in the real runtime.

use purlin_counter::Counter;

purlin_testing::tests! {
    fn everybody_counts(chain: &Chain) {
        let [alice, bob] = ["alice", "bob"].map(|name| chain.account(name));
        let counter = chain.install::<Counter>(alice, ());
        assert_eq!(counter.by(alice).count(), Ok(0));
        assert_eq!(counter.by(alice).increment(2), Ok(2));
        assert_eq!(counter.by(bob).increment(40), Ok(42));
        assert_eq!(counter.by(bob).count(), Ok(42));
    }

    fn stops_at_the_largest_number(chain: &Chain) {
        let alice = chain.account("alice");
        let counter = chain.install::<Counter>(alice, ());
        assert_eq!(counter.by(alice).increment(u64::MAX), Ok(u64::MAX));
        assert_eq!(counter.by(alice).increment(1), Ok(u64::MAX));
    }
}
