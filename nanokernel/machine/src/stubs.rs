//! The assembly that the interrupt stubs of several crates share.

/// Assembler macros that save and restore the registers that a SysV callee may change, nine quadwords,
/// rax outermost. All assembly of an image is one text in the end, where a macro may be defined once:
/// who uses these ends with [`end_of_stubs`](crate::end_of_stubs).
#[macro_export]
macro_rules! begin_stubs {
    () => {
        "
    .macro save_scratch
    push    rax
    push    rcx
    push    rdx
    push    rsi
    push    rdi
    push    r8
    push    r9
    push    r10
    push    r11
    .endm
    .macro restore_scratch
    pop     r11
    pop     r10
    pop     r9
    pop     r8
    pop     rdi
    pop     rsi
    pop     rdx
    pop     rcx
    pop     rax
    .endm
"
    };
}

/// Ends what [`begin_stubs`](crate::begin_stubs) began.
#[macro_export]
macro_rules! end_of_stubs {
    () => {
        "
    .purgem save_scratch
    .purgem restore_scratch
"
    };
}
