"""Between a source and the pipe: pictures become the stream, commands are obeyed, state is told.

`line.Pipeline` takes raw pictures, `passing.PassingLine` takes what a camera encoded itself; the
second loads libav only when somebody wants a picture decoded.
"""
