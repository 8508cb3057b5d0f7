# Into the guest and out again (APM2 15.5). SysV arguments:
#   rdi = guest registers (14 quadwords: rbx rcx rdx rbp rsi rdi r8..r15), see GuestRegisters
#   rsi = physical address of the control block
#   rdx = physical address of the host's state for VMLOAD
# Returns eax = 1 if the guest ran, 0 if the attention byte asked for the main loop instead.
#
# Interrupts are held back by CLGI for a few instructions only: from the last look at the attention
# byte to VMRUN, which opens them again inside the guest, so no interrupt's message to the main loop
# can be missed; and from #VMEXIT to the STGI behind it. In between, VMLOAD and VMSAVE switch what
# VMRUN does not, the task register above all: the host's interrupt stacks hang on it (APM2 15.5).
# The guest's general registers are loaded before and stored after: a handler that runs in between
# preserves every register it uses, as any handler does. RFLAGS.IF is 1 throughout: with V_INTR_MASKING it is what lets physical interrupts
# leave the guest.

    .globl svm_enter
svm_enter:
    push    rbx
    push    rbp
    push    r12
    push    r13
    push    r14
    push    r15
    push    rdi
    push    rdx
    push    1                           # the answer, unless the attention byte changes it
    mov     rax, rsi
    mov     rbx, [rdi]
    mov     rcx, [rdi + 8]
    mov     rdx, [rdi + 16]
    mov     rbp, [rdi + 24]
    mov     rsi, [rdi + 32]
    mov     r8,  [rdi + 48]
    mov     r9,  [rdi + 56]
    mov     r10, [rdi + 64]
    mov     r11, [rdi + 72]
    mov     r12, [rdi + 80]
    mov     r13, [rdi + 88]
    mov     r14, [rdi + 96]
    mov     r15, [rdi + 104]
    mov     rdi, [rdi + 40]
    clgi
    cmp     byte ptr [rip + darma_attention], 0
    jne     2f
    vmload  rax
    vmrun   rax
    # Host rax and rsp are back from the save area; every other register is the guest's.
    vmsave  rax
    mov     rax, [rsp + 8]
    vmload  rax
    stgi
1:  push    rdi
    mov     rdi, [rsp + 24]
    mov     [rdi], rbx
    mov     [rdi + 8], rcx
    mov     [rdi + 16], rdx
    mov     [rdi + 24], rbp
    mov     [rdi + 32], rsi
    mov     [rdi + 48], r8
    mov     [rdi + 56], r9
    mov     [rdi + 64], r10
    mov     [rdi + 72], r11
    mov     [rdi + 80], r12
    mov     [rdi + 88], r13
    mov     [rdi + 96], r14
    mov     [rdi + 104], r15
    pop     [rdi + 40]
    pop     rax
    add     rsp, 16
    pop     r15
    pop     r14
    pop     r13
    pop     r12
    pop     rbp
    pop     rbx
    cld
    ret

2:  stgi
    mov     qword ptr [rsp], 0
    jmp     1b
