# Host exceptions: a task's fault or a bug of our own. Each stub gathers the whole state and hands it
# to Rust, which leaves the task or prints the state and stops. NMIs (vector 2) return.

    .macro exception vector, has_error
    .globl host_exception_\vector
host_exception_\vector:
    .if \has_error == 0
    push    0
    .endif
    push    \vector
    jmp     host_exception
    .endm

    .irp v, 0,1,2,3,4,5,6,7,9,15,16,18,19,20,22,23,24,25,26,27,28,31
    exception \v, 0
    .endr
    .irp v, 8,10,11,12,13,14,17,21,29,30
    exception \v, 1
    .endr

host_exception:
    push    rax
    push    rbx
    push    rcx
    push    rdx
    push    rsi
    push    rdi
    push    rbp
    push    r8
    push    r9
    push    r10
    push    r11
    push    r12
    push    r13
    push    r14
    push    r15
    cld
    mov     rdi, rsp
    mov     rbp, rsp
    and     rsp, -16
    call    darma_host_exception
    mov     rsp, rbp
    pop     r15
    pop     r14
    pop     r13
    pop     r12
    pop     r11
    pop     r10
    pop     r9
    pop     r8
    pop     rbp
    pop     rdi
    pop     rsi
    pop     rdx
    pop     rcx
    pop     rbx
    pop     rax
    add     rsp, 16
    iretq

    .section .rodata.exceptions, "a", @progbits
    .align 8
    .globl host_exception_stubs
host_exception_stubs:
    .irp v, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    .quad host_exception_\v
    .endr
    .text
