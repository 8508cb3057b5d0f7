//! What `#[rtos::app]` refuses: one file per refusal in `refused/`, beside it what the compiler says.
//!
//! The crate itself is empty; `tests/refusals.rs` compiles the files. After a deliberate change of a message,
//! `DARMA_BLESS=1 cargo test -p darma-rtos-ui` writes the new ones: read the difference.
