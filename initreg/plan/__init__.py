"""The plan: what a restore will do, decided before anything is written, from specs alone."""

from initreg.plan.plan import Plan as Plan
from initreg.plan.rows import Hint as Hint
from initreg.plan.rows import Kind as Kind
from initreg.plan.rows import Policy as Policy
from initreg.plan.rows import Row as Row
