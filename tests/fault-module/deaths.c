// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Deaths: the kernel stops, at once and for good, each in another way: by its own panic path, by
 * an exception that it cannot deliver, or by asking the machine for a reset.
 */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/irq_work.h>
#include <linux/kernel.h>
#include <linux/panic_notifier.h>
#include <linux/notifier.h>
#include <linux/reboot.h>
#include <linux/slab.h>
#include <asm/apic.h>
#include <asm/desc.h>
#include <asm/nmi.h>
#include <asm/processor.h>
#include <asm/special_insns.h>

#include "fault.h"

static int null_deref(unsigned long unused)
{
	/* Volatile and hidden from the compiler, which would otherwise emit an undefined opcode. */
	volatile unsigned long *nowhere = NULL;

	OPTIMIZER_HIDE_VAR(nowhere);
	*nowhere = 1;
	return 0;
}

static int plain_panic(unsigned long unused)
{
	panic("darma_fault: panic on command");
}

static int bug(unsigned long unused)
{
	BUG();
	return 0;
}

static void panic_from_interrupt(struct irq_work *work)
{
	panic("darma_fault: panic in an interrupt");
}

static int panic_in_irq(unsigned long unused)
{
	static struct irq_work work = IRQ_WORK_INIT_HARD(panic_from_interrupt);

	irq_work_queue(&work);
	return 0;
}

static int panic_from_nmi(unsigned int type, struct pt_regs *registers)
{
	panic("darma_fault: panic in an NMI");
	return NMI_HANDLED;
}

static int panic_in_nmi(unsigned long unused)
{
	int error = register_nmi_handler(NMI_LOCAL, panic_from_nmi, NMI_FLAG_FIRST, "darma_fault");

	if (!error)
		apic->send_IPI(0, NMI_VECTOR);
	return error;
}

static int fault_while_panicking(struct notifier_block *block, unsigned long event, void *text)
{
	return null_deref(0);
}

static int nested_panic(unsigned long unused)
{
	static struct notifier_block block = {
		.notifier_call = fault_while_panicking,
		.priority = INT_MAX,
	};

	atomic_notifier_chain_register(&panic_notifier_list, &block);
	panic("darma_fault: a panic whose notifier faults");
}

static int divide_error(unsigned long unused)
{
	asm volatile("xor %%edx, %%edx; mov $1, %%eax; xor %%ecx, %%ecx; div %%ecx"
		     : : : "eax", "ecx", "edx");
	return 0;
}

static int double_fault(unsigned long unused)
{
	/* No address: the push faults, and so does the delivery of that fault. */
	asm volatile("movabs $0x00dead0000000000, %%rsp; push %%rax" : : : "memory");
	unreachable();
}

static int triple_fault(unsigned long unused)
{
	const struct desc_ptr empty = { .size = 0, .address = 0 };

	local_irq_disable();
	load_idt(&empty);
	asm volatile("int3");
	return 0;
}

static int idt_destroyed(unsigned long unused)
{
	u64 *garbage = kmalloc(PAGE_SIZE, GFP_KERNEL);
	struct desc_ptr ruined = { .size = PAGE_SIZE - 1, .address = (unsigned long)garbage };
	size_t i;

	if (!garbage)
		return -ENOMEM;
	for (i = 0; i < PAGE_SIZE / sizeof(*garbage); i++)
		garbage[i] = fault_random();
	/* Interrupts stay as they are: whatever comes next meets the ruin. */
	load_idt(&ruined);
	asm volatile("int3");
	return 0;
}

static int gdt_destroyed(unsigned long unused)
{
	const struct desc_ptr empty = { .size = 0, .address = 0 };

	asm volatile("lgdt %0" : : "m"(empty) : "memory");
	asm volatile("int3");
	return 0;
}

static int cr3_destroyed(unsigned long unused)
{
	unsigned long page = get_zeroed_page(GFP_KERNEL);

	if (!page)
		return -ENOMEM;
	asm volatile("mov %0, %%cr3" : : "r"(__pa(page)) : "memory");
	return 0;
}

static int wild_jump(unsigned long unused)
{
	void (*nowhere)(void) = (void *)(0xffff800000000000UL | fault_random());

	OPTIMIZER_HIDE_VAR(nowhere);
	nowhere();
	return 0;
}

static noinline int deeper(unsigned long depth)
{
	volatile char room[512];

	memset((void *)room, depth, sizeof(room));
	return depth ? deeper(depth - 1) + room[depth % sizeof(room)] : 0;
}

static int stack_overflow(unsigned long unused)
{
	return deeper(1 << 20) ? 0 : -EIO;
}

static int reset_keyboard(unsigned long unused)
{
	local_irq_disable();
	outb(0xfe, 0x64);
	return 0;
}

static int reset_cf9(unsigned long unused)
{
	local_irq_disable();
	outb(0x02, 0xcf9);
	outb(0x06, 0xcf9);
	return 0;
}

static int reset_port92(unsigned long unused)
{
	local_irq_disable();
	outb(inb(0x92) | 1, 0x92);
	return 0;
}

static int sysrq_b(unsigned long unused)
{
	emergency_restart();
	return 0;
}

static int restart(unsigned long unused)
{
	kernel_restart(NULL);
	return 0;
}

const struct act death_acts[] = {
	{ "null-deref", null_deref },
	{ "panic", plain_panic },
	{ "bug", bug },
	{ "panic-in-irq", panic_in_irq },
	{ "panic-in-nmi", panic_in_nmi },
	{ "nested-panic", nested_panic },
	{ "divide-error", divide_error },
	{ "double-fault", double_fault },
	{ "triple-fault", triple_fault },
	{ "idt-destroyed", idt_destroyed },
	{ "gdt-destroyed", gdt_destroyed },
	{ "cr3-destroyed", cr3_destroyed },
	{ "wild-jump", wild_jump },
	{ "stack-overflow", stack_overflow },
	{ "reset-keyboard", reset_keyboard },
	{ "reset-cf9", reset_cf9 },
	{ "reset-port92", reset_port92 },
	{ "sysrq-b", sysrq_b },
	{ "restart", restart },
	{ }
};
