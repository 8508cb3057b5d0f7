# Interrupt stubs of the RTOS: the timer's, and one per task vector 0xC0..0xEF. Only the registers
# that a SysV callee may change are saved; the image has no FPU state. On entry the processor has
# aligned the stack to 16 and pushed five quadwords, so nine or eleven more keep the calls aligned.

    .macro save_registers
    push    rax
    push    rcx
    push    rdx
    push    rsi
    push    rdi
    push    r8
    push    r9
    push    r10
    push    r11
    cld
    .endm
    .macro restore_registers
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

    .globl rtos_timer_stub
rtos_timer_stub:
    save_registers
    call    rtos_timer_interrupt
    restore_registers
    iretq

    .globl rtos_spurious_stub
rtos_spurious_stub:
    iretq

    .macro task_stub number
rtos_task_stub_\number:
    save_registers
    mov     edi, \number
    call    rtos_task_interrupt
    restore_registers
    iretq
    .endm

    .altmacro
    .macro task_stub_of number
    task_stub \number
    .endm
    .macro task_stub_address number
    .quad   rtos_task_stub_\number
    .endm

    .set    i, 0
    .rept   48
    task_stub_of %i
    .set    i, i + 1
    .endr

    .section .rodata.rtos_stubs, "a", @progbits
    .align  8
    .globl  rtos_task_stubs
rtos_task_stubs:
    .set    i, 0
    .rept   48
    task_stub_address %i
    .set    i, i + 1
    .endr
    .noaltmacro
    .text
