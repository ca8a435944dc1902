"""Teaches hypothesis to draw patterns (`st.from_type(Pattern)`), unions included."""

from functools import reduce
from operator import or_

from hypothesis import strategies as st

from longwatch.kernels import Dense, Global, Pattern, Sliding, Strided


@st.composite
def strided(draw: st.DrawFn) -> Strided:
    stride = draw(st.integers(1, 24))
    return Strided(stride, draw(st.integers(1, stride)))


SIMPLE = st.one_of(
    st.builds(Sliding, st.integers(1, 40)),
    strided(),
    st.builds(Global, st.integers(1, 20)),
    st.just(Dense()),
)
UNIONS = st.lists(SIMPLE, min_size=1, max_size=4).map(lambda members: reduce(or_, members))

st.register_type_strategy(Pattern, UNIONS)
