"""The users' feature functions: frames in, frame out, pure. A model's spec names them as `module:function`."""
