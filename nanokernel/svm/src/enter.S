# Into the guest and out again (APM2 15.5). SysV arguments:
#   rdi = guest registers (15 quadwords: rbx rcx rdx rbp rsi rdi r8..r15, rsp unused), see GuestRegisters
#   rsi = physical address of the control block
#   rdx = pointer to the attention byte: non-zero means "do not enter"
#   rcx = pointer to Stamps: longest entry section, time of this #VMEXIT, longest exit section
# Returns eax = 1 if the guest ran, 0 if attention was asked for.
#
# CLGI holds every interrupt back from the last look at the attention byte until VMRUN, which opens
# them again inside the guest; so no interrupt's message to the main loop can be missed. RFLAGS.IF
# is 1 throughout: with V_INTR_MASKING it is what lets physical interrupts leave the guest.

    .globl svm_enter
svm_enter:
    push    rbx
    push    rbp
    push    r12
    push    r13
    push    r14
    push    r15
    push    rcx
    push    rdi
    mov     r8, rdx
    mov     r9, rcx
    clgi
    cmp     byte ptr [r8], 0
    jne     2f
    rdtsc
    shl     rdx, 32
    or      rax, rdx
    mov     r10, rax                    # the section begins
    mov     rbx, [rdi]
    mov     rcx, [rdi + 8]
    mov     rbp, [rdi + 24]
    mov     r8,  [rdi + 48]
    mov     r11, [rdi + 72]
    mov     r12, [rdi + 80]
    mov     r13, [rdi + 88]
    mov     r14, [rdi + 96]
    mov     r15, [rdi + 104]
    rdtsc
    shl     rdx, 32
    or      rax, rdx
    sub     rax, r10
    cmp     rax, [r9]
    jbe     1f
    mov     [r9], rax
1:  mov     rax, rsi
    mov     rdx, [rdi + 16]
    mov     rsi, [rdi + 32]
    mov     r9,  [rdi + 56]
    mov     r10, [rdi + 64]
    mov     rdi, [rdi + 40]
    vmrun   rax
    # Host rax and rsp are back from the save area; every other register is the guest's.
    push    rdi
    mov     rdi, [rsp + 8]
    mov     [rdi + 16], rdx
    rdtsc
    mov     [rdi + 8], rcx
    mov     rcx, [rsp + 16]
    shl     rdx, 32
    or      rax, rdx
    mov     [rcx + 8], rax              # the section begins
    mov     [rdi], rbx
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
    rdtsc
    shl     rdx, 32
    or      rax, rdx
    sub     rax, [rcx + 8]
    cmp     rax, [rcx + 16]
    jbe     1f
    mov     [rcx + 16], rax
1:  stgi
    mov     eax, 1
    jmp     3f
2:  stgi
    xor     eax, eax
3:  pop     rdi
    pop     rcx
    pop     r15
    pop     r14
    pop     r13
    pop     r12
    pop     rbp
    pop     rbx
    cld
    ret
