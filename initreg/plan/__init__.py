"""What a restore will do, decided before anything is written. Pure: specs in, rows out."""

from initreg.plan.plan import Hint as Hint
from initreg.plan.plan import Kind as Kind
from initreg.plan.plan import Plan as Plan
from initreg.plan.plan import Policy as Policy
from initreg.plan.plan import Row as Row
