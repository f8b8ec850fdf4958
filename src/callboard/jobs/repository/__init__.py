"""The SQL of jobs, one file per matter. Knows no rules but the fence: who may write a run."""
