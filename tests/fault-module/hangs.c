// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Hangs: the kernel stays, and does nothing any more: with interrupts off or on, on the processor
 * or waiting for ever, or until its memory is used up.
 */
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/irq_work.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <asm/apic.h>
#include <asm/nmi.h>
#include <asm/processor.h>

#include "fault.h"

static int cli_hlt(unsigned long unused)
{
	local_irq_disable();
	for (;;)
		asm volatile("hlt" : : : "memory");
	return 0;
}

static int cli_spin(unsigned long unused)
{
	local_irq_disable();
	for (;;)
		barrier();
	return 0;
}

static int spin_in_nmi(unsigned int type, struct pt_regs *registers)
{
	for (;;)
		barrier();
	return NMI_HANDLED;
}

static int nmi_hang(unsigned long unused)
{
	int error = register_nmi_handler(NMI_LOCAL, spin_in_nmi, NMI_FLAG_FIRST, "darma_fault");

	if (!error)
		apic->send_IPI(0, NMI_VECTOR);
	return error;
}

/*
 * The loops that have to last for seconds do without PAUSE: the emulator leaves its inner loop at
 * each, and a second of counted time would take minutes.
 */
static int preempt_spin(unsigned long unused)
{
	/* No PAUSE: the emulator takes a hundred times as long for it as for any other instruction. */
	preempt_disable();
	for (;;)
		barrier();
	return 0;
}

static int exit_storm(unsigned long unused)
{
	preempt_disable();
	for (;;)
		cpuid_eax(0);
	return 0;
}

static void raise_again(struct irq_work *work)
{
	irq_work_queue(work);
}

static int irq_storm(unsigned long unused)
{
	static struct irq_work work = IRQ_WORK_INIT_HARD(raise_again);

	irq_work_queue(&work);
	return 0;
}

static DEFINE_SPINLOCK(lock);

static int deadlock_irqs_off(unsigned long unused)
{
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	spin_lock(&lock);
	return 0;
}

static int deadlock_irqs_on(unsigned long unused)
{
	spin_lock(&lock);
	while (!spin_trylock(&lock))
		barrier();
	return 0;
}

/* Sleeps for ever, uninterruptible; the kernel's own watch over such tasks is what may notice. */
static int mutex_deadlock(unsigned long unused)
{
	static DEFINE_MUTEX(mutex);

	mutex_lock(&mutex);
	mutex_lock(&mutex);
	return 0;
}

static void wait_for_readers(struct work_struct *work)
{
	synchronize_rcu();
}

static int rcu_stall(unsigned long unused)
{
	static DECLARE_WORK(work, wait_for_readers);

	rcu_read_lock();
	schedule_work(&work);
	for (;;)
		msleep(100);
	return 0;
}

/* Takes every page that the kernel gives, and gives none back. */
static int memory_leak(unsigned long unused)
{
	while (!fatal_signal_pending(current))
		if (!alloc_page(GFP_KERNEL))
			cond_resched();
	return -ENOMEM;
}

const struct act hang_acts[] = {
	{ "cli-hlt", cli_hlt },
	{ "cli-spin", cli_spin },
	{ "nmi-hang", nmi_hang },
	{ "preempt-spin", preempt_spin },
	{ "exit-storm", exit_storm },
	{ "irq-storm", irq_storm },
	{ "deadlock-irqs-off", deadlock_irqs_off },
	{ "deadlock-irqs-on", deadlock_irqs_on },
	{ "mutex-deadlock", mutex_deadlock },
	{ "rcu-stall", rcu_stall },
	{ "memory-leak", memory_leak },
	{ }
};
