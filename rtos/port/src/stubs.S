# Interrupt stubs of the RTOS: the timer's, and one per task vector 0xC0..0xEF. The processor has
# switched to the stack of the interrupt's class, aligned it to 16 and pushed five quadwords.
#
# The timer's stub saves what a SysV callee may change: save_scratch pushes nine more, which keeps the call aligned. A task's stub saves
# every register, at a fixed place from the top of the stack, because an activation that faults is
# abandoned: rtos_leave_task then resumes the interrupted context from there.

    .globl rtos_timer_stub
rtos_timer_stub:
    save_scratch
    cld
    call    rtos_timer_interrupt
    restore_scratch
    iretq

    .globl rtos_spurious_stub
rtos_spurious_stub:
    iretq

    .macro task_stub number
rtos_task_stub_\number:
    save_scratch
    push    rbx
    push    rbp
    push    r12
    push    r13
    push    r14
    push    r15
    sub     rsp, 48                     # a Run, filled by the entry
    mov     edi, \number
    mov     rsi, rsp
    cld
    call    rtos_task_enter
    mov     rdi, rsp
    sti
    call    rtos_task_body
    mov     edi, \number
    mov     rsi, rsp
    call    rtos_task_exit              # comes back with interrupts off
    add     rsp, 48
    jmp     rtos_task_return
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

# rdi = where the registers that a task's stub saved lie
    .globl rtos_leave_task
rtos_leave_task:
    mov     rsp, rdi
rtos_task_return:
    pop     r15
    pop     r14
    pop     r13
    pop     r12
    pop     rbp
    pop     rbx
    restore_scratch
    iretq

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
