"""The benchmark: convlab beside PyTorch on real layers, as ratios measured in one run.

``python -m benchmarks --help`` lists the options. Nothing here is a test: only the arithmetic of
the tables is tested (``tests/test_benchmarks.py``), never a time.

====================  ==========================================================================
``suite.py``          the layers, and what each operation on them must compute and move
``libraries.py``      how each library is called
``worker.py``         the process that one library runs in: answers one request at a time
``runner.py``         asks the workers in turn, and compares their results
``memory.py``         peak memory above what was there before a call
``machine.py``        the machine's FMA peak and memory bandwidth
``report.py``         ratios, shares of the roofline, goals, tables
``picture.py``        bars per row
====================  ==========================================================================
"""
