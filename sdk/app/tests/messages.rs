//! Right uses compile, and wrong ones give the message that says the fix. `TRYBUILD=overwrite cargo test -p purlin-sdk --test messages`
//! writes the messages anew.

#[test]
fn uses_and_messages() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/pass/*.rs");
    cases.compile_fail("tests/fail/*.rs");
}
