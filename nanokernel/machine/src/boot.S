# Entry from a PVH loader (QEMU -kernel): 32-bit protected mode, paging off, EBX = hvm_start_info.
# Builds an identity map of the first 4 GiB with 2 MiB pages, enters long mode, and calls Rust.
# Reference: Xen's docs/misc/pvh.pandoc for the entry state; APM2 14.8 for the way into long mode.

    .section .note.pvh, "a", @note
    .align 4
    .long 4, 4, 18                      # name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_entry

    .section .text.boot, "ax", @progbits
    .code32
    .globl pvh_entry
pvh_entry:
    cli
    cld
    mov     $boot_stack_top, %esp

    # The long-mode bit decides whether anything below may run (APM3 CPUID 8000_0001).
    mov     %ebx, %ebp                  # CPUID overwrites EBX, the loader's pointer
    mov     $0x80000000, %eax
    cpuid
    cmp     $0x80000001, %eax
    jb      no_long_mode
    mov     $0x80000001, %eax
    cpuid
    bt      $29, %edx
    jnc     no_long_mode

    mov     $boot_pd, %edi              # four page directories: 2048 entries of 2 MiB
    mov     $0x83, %eax                 # present, writable, page size
    xor     %ecx, %ecx
1:  mov     %eax, (%edi,%ecx,8)
    movl    $0, 4(%edi,%ecx,8)
    add     $0x200000, %eax
    inc     %ecx
    cmp     $2048, %ecx
    jne     1b
    mov     $boot_pd + 3, %eax
    mov     %eax, boot_pdpt
    add     $0x1000, %eax
    mov     %eax, boot_pdpt + 8
    add     $0x1000, %eax
    mov     %eax, boot_pdpt + 16
    add     $0x1000, %eax
    mov     %eax, boot_pdpt + 24
    mov     $boot_pdpt + 3, %eax
    mov     %eax, boot_pml4

    mov     $0x20, %eax                 # CR4: PAE
    mov     %eax, %cr4
    mov     $boot_pml4, %eax
    mov     %eax, %cr3
    mov     $0xc0000080, %ecx           # EFER: LME
    rdmsr
    or      $0x100, %eax
    wrmsr
    mov     $0x80010033, %eax           # CR0: PG WP NE ET MP PE
    mov     %eax, %cr0
    lgdt    boot_gdt_pointer
    ljmp    $8, $long_mode

no_long_mode:                           # only the debug port can be assumed to exist
    mov     $no_long_mode_text, %esi
2:  lodsb
    test    %al, %al
    jz      3f
    outb    %al, $0xe9
    mov     $0x3f8, %dx
    outb    %al, %dx
    jmp     2b
3:  hlt
    jmp     3b

    .code64
long_mode:
    mov     $16, %eax
    mov     %eax, %ds
    mov     %eax, %es
    mov     %eax, %ss
    xor     %eax, %eax
    mov     %eax, %fs
    mov     %eax, %gs
    mov     $boot_stack_top, %rsp
    mov     %ebp, %edi                  # first argument: physical address of hvm_start_info
    xor     %ebp, %ebp
    call    darma_boot
4:  hlt
    jmp     4b

    .section .rodata.boot, "a", @progbits
no_long_mode_text:
    .asciz "darma: this processor has no 64-bit mode: use an AMD64 processor with SVM\r\n"
    .align 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff            # 0x08: 64-bit code
    .quad 0x00cf93000000ffff            # 0x10: data
boot_gdt_pointer:
    .word 23
    .long boot_gdt
    .long 0

    .section .bss.boot, "aw", @nobits
    .align 4096
    .globl boot_pml4, boot_pdpt
boot_pml4:  .skip 4096
boot_pdpt:  .skip 4096
boot_pd:    .skip 16384
    .globl boot_pd, boot_stack_guard
boot_stack_guard: .skip 4096            # unmapped later: an overflow faults instead of corrupting
boot_stack: .skip 524288
    .globl boot_stack_top
boot_stack_top:
    .text
