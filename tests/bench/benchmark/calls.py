"""System calls of single operations, counted with strace in a pass of their own: they hold on every machine."""

from .measure import Operation, Sample


class SystemCalls(Operation):
    """Those of the process that serves the client, between the command and its answer."""
    group = 'system calls'
    rounds = 1

    def measure(self, target, number):
        # The operations are those for which the tests of the mail format have limits.
        from test_flushes import Work
        user = self.user('calls')
        target.users.add(user)
        work = Work(target.server, user)
        for what, count in work.rows():
            yield what, Sample(count.calls, 'calls', operations=1, flushes=count.flushes, written=0, processor=0)
        work.close()


OPERATIONS = (SystemCalls,)
