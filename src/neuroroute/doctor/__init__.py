"""The troubleshooting as a program: looks at a server, and tells what is wrong, why it matters and what to do.

::

    from neuroroute.doctor import examine

    report = await examine("localhost:1234")
    for finding in report.findings:
        print(finding.level, finding.code, finding.what, finding.do)
"""

from neuroroute.doctor.breakers import of_hosts as examine_breakers
from neuroroute.doctor.codes import RULES, SOLUTIONS
from neuroroute.doctor.examination import Limits, examine
from neuroroute.doctor.findings import Finding, HostReport, Phases, Report
from neuroroute.doctor.toolcheck import check_tools

__all__ = [
    "RULES",
    "SOLUTIONS",
    "Finding",
    "HostReport",
    "Limits",
    "Phases",
    "Report",
    "check_tools",
    "examine",
    "examine_breakers",
]
