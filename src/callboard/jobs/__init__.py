"""Jobs: everything that takes long is one. Submit, claim, run, journal, finish, cancel; see docs/one-job.md."""
