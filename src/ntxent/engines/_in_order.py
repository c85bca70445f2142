"""Tasks on the threads of this process, with results that are taken in a fixed order."""

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch

__all__ = ["run_in_order"]

Task = TypeVar("Task")
Result = TypeVar("Result")
Scratch = TypeVar("Scratch")


def run_in_order(
    tasks: Iterable[Task],
    scratch: Callable[[], Scratch],
    compute: Callable[[Task, Scratch], Result],
    add: Callable[[Task, Result], None],
    on_threads: bool,
) -> None:
    """Call ``add(task, compute(task, scratch()))`` for each task; where ``on_threads``, ``compute``
    on as many threads as PyTorch uses for one operation, ``add`` one task at a time, in their
    order.

    A thread takes the next task when it is free, and computes it alone. PyTorch would give each
    operation to all threads at once and, busily waiting, end it with its slowest thread: a tile has
    some ten operations of a millisecond, and on a machine with other work each of them waits for
    the scheduler (N = 4096 beside another PyTorch process: 20 times the time of an idle machine).
    The fixed order of the sums gives the same bits on every run and for every number of threads.

    ``scratch`` makes what a thread overwrites from task to task.
    """
    limited = torch.backends.openmp.is_available()  # type: ignore[no-untyped-call]
    # Without OpenMP a thread cannot limit the threads of its own operations.
    threads = torch.get_num_threads() if limited and on_threads else 1
    if threads == 1:
        own = scratch()
        for task in tasks:
            add(task, compute(task, own))
        return
    numbered, taking = enumerate(tasks), threading.Lock()
    turn, changed = 0, threading.Condition()
    failure: BaseException | None = None
    inference = torch.is_inference_mode_enabled()

    def stop(error: BaseException) -> None:
        nonlocal failure
        with changed:
            failure = failure or error
            changed.notify_all()

    def work() -> None:
        nonlocal turn
        try:
            # Of this thread only, but for MKL's number of threads, which is restored below.
            torch.set_num_threads(1)
            with torch.inference_mode(inference), torch.no_grad():
                own = scratch()
                while failure is None:
                    with taking:
                        number, task = next(numbered, (-1, None))
                    if task is None:
                        return
                    result = compute(task, own)
                    with changed:
                        changed.wait_for(lambda: turn == number or failure is not None)  # noqa: B023
                        if failure is None:
                            add(task, result)
                            turn += 1
                            changed.notify_all()
        except BaseException as error:
            stop(error)

    workers = [threading.Thread(target=work, name="ntxent", daemon=True) for _ in range(threads)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    except BaseException as error:  # Ctrl-C
        stop(error)
        for worker in workers:
            if worker.ident is not None:
                worker.join()
        raise
    finally:
        torch.set_num_threads(threads)
    if failure is not None:
        raise failure
