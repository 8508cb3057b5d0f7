# What one wants to see first of a dead kernel: the task that ran, its backtrace, the log's last lines,
# the tasks. Run by drgn with the core and the kernel's symbols loaded.
import drgn
from drgn.helpers.linux import cpu_curr, for_each_task, get_dmesg

LINES = 120


def running():
    """The task that ran and its trace. Where nothing had panicked no thread has crashed."""
    try:
        thread = prog.crashed_thread()
        return thread.object, thread.stack_trace()
    except (LookupError, ValueError):
        task = cpu_curr(prog, 0)
        return task, prog.stack_trace(task)


def name(task):
    return task.comm.string_().decode(errors="replace")


def part(title, show):
    """One part; what cannot be read in a partial dump leaves the others alone."""
    print(f"== {title}")
    try:
        show()
    except (drgn.FaultError, LookupError, ValueError) as error:
        print(f"not readable: {error}")


def backtrace():
    task, trace = running()
    print(f"task {task.pid.value_()} {name(task)}")
    print(trace)


def log():
    for line in get_dmesg(prog).decode(errors="replace").splitlines()[-LINES:]:
        print(line)


def tasks():
    for task in for_each_task(prog):
        print(f"{task.pid.value_():>7} {name(task)}")


part("backtrace", backtrace)
part("log", log)
part("tasks", tasks)
