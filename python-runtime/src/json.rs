//! Python values to and from JSON.

use rustpython_vm::builtins::{PyDict, PyFloat, PyInt, PyList, PyStr, PyTuple};
use rustpython_vm::{AsObject, PyObject, PyObjectRef, PyResult, TryFromObject, VirtualMachine};
use serde_json::{Number, Value};

/// How deep values may be nested, in both directions; a value that contains itself is too deep.
const DEPTH_MAX: usize = 120;

/// The value that a JSON text stands for; `None` if the bytes are no JSON.
///
/// # Errors
/// `ValueError` for nesting that is too deep, or a number with too many digits.
pub(crate) fn parse(vm: &VirtualMachine, bytes: &[u8]) -> PyResult<Option<PyObjectRef>> {
    match serde_json::from_slice(bytes) {
        Ok(value) => to_python(vm, value).map(Some),
        Err(error) if error.to_string().starts_with("recursion limit") => {
            Err(vm.new_value_error(format!("the JSON is nested deeper than {DEPTH_MAX}")))
        }
        Err(_) => Ok(None),
    }
}

fn to_python(vm: &VirtualMachine, value: Value) -> PyResult {
    Ok(match value {
        Value::Null => vm.ctx.none(),
        Value::Bool(value) => vm.ctx.new_bool(value).into(),
        Value::Number(number) => number_to_python(vm, &number)?,
        Value::String(text) => vm.ctx.new_str(text).into(),
        Value::Array(items) => {
            let items = items.into_iter().map(|item| to_python(vm, item));
            vm.ctx.new_list(items.collect::<PyResult<_>>()?).into()
        }
        Value::Object(entries) => {
            let dict = vm.ctx.new_dict();
            for (key, item) in entries {
                dict.set_item(key.as_str(), to_python(vm, item)?, vm)?;
            }
            dict.into()
        }
    })
}

fn number_to_python(vm: &VirtualMachine, number: &Number) -> PyResult {
    if let Some(small) = number.as_i64() {
        return Ok(vm.ctx.new_int(small).into());
    }
    let text = number.as_str();
    let types = &vm.ctx.types;
    let class = if text.contains(['.', 'e', 'E']) {
        types.float_type
    } else {
        types.int_type
    };
    class.as_object().call((text.to_owned(),), vm)
}

/// A value as a JSON text, as `json.dumps` writes it but without spaces and with characters as they are.
///
/// # Errors
/// `TypeError` for what JSON has no form for, `ValueError` for what is nested too deep or no finite number, and what the
/// value's own methods raise.
pub(crate) fn write(vm: &VirtualMachine, value: &PyObject) -> PyResult<Vec<u8>> {
    let mut out = Vec::new();
    Writer { vm, out: &mut out }.value(value, DEPTH_MAX)?;
    Ok(out)
}

struct Writer<'a> {
    vm: &'a VirtualMachine,
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn value(&mut self, value: &PyObject, depth: usize) -> PyResult<()> {
        let vm = self.vm;
        let inside = || {
            let message = format!("the result is nested deeper than {DEPTH_MAX}, or contains itself");
            depth.checked_sub(1).ok_or_else(|| vm.new_value_error(message))
        };
        if let Some(text) = value.downcast_ref::<PyStr>() {
            return self.text(text);
        }
        if let Some(scalar) = self.scalar(value)? {
            self.out.extend_from_slice(scalar.as_bytes());
            return Ok(());
        }
        let is = |class| value.fast_isinstance(class);
        if is(vm.ctx.types.list_type) || is(vm.ctx.types.tuple_type) {
            let items = match (value.downcast_ref::<PyList>(), value.downcast_ref::<PyTuple>()) {
                (Some(list), _) => list.borrow_vec().to_vec(),
                (_, Some(tuple)) => tuple.as_slice().to_vec(),
                _ => Vec::new(),
            };
            return self.array(&items, inside()?);
        }
        match value.downcast_ref::<PyDict>() {
            Some(_) => {
                let dict = value.to_owned().downcast::<PyDict>();
                let entries = dict.map(|dict| dict.into_iter().collect::<Vec<_>>());
                self.object(&entries.unwrap_or_default(), inside()?)
            }
            None => Err(vm.new_type_error(format!(
                "a result of type {} has no form in JSON; return dict, list, str, int, float, bool, None or bytes",
                value.class().name()
            ))),
        }
    }

    /// The text of None, a truth value or a number.
    fn scalar(&self, value: &PyObject) -> PyResult<Option<String>> {
        let vm = self.vm;
        if vm.is_none(value) {
            return Ok(Some("null".into()));
        }
        if value.is(&vm.ctx.true_value) || value.is(&vm.ctx.false_value) {
            return Ok(Some(value.is(&vm.ctx.true_value).to_string()));
        }
        if let Some(float) = value.downcast_ref::<PyFloat>() {
            let number = float.to_f64();
            if !number.is_finite() {
                return Err(vm.new_value_error(format!("{number} has no form in JSON")));
            }
            let text = vm.ctx.new_float(number).as_object().repr(vm)?;
            return Ok(Some(text.to_string()));
        }
        Ok(value
            .downcast_ref::<PyInt>()
            .map(|int| int.as_bigint().to_string()))
    }

    fn array(&mut self, items: &[PyObjectRef], depth: usize) -> PyResult<()> {
        self.out.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.value(item, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, entries: &[(PyObjectRef, PyObjectRef)], depth: usize) -> PyResult<()> {
        self.out.push(b'{');
        for (index, (key, item)) in entries.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.key(key)?;
            self.out.push(b':');
            self.value(item, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn key(&mut self, key: &PyObject) -> PyResult<()> {
        if let Some(text) = key.downcast_ref::<PyStr>() {
            return self.text(text);
        }
        let Some(text) = self.scalar(key)? else {
            let class = key.class().name().to_string();
            return Err(self
                .vm
                .new_type_error(format!("a key of type {class} has no form in JSON")));
        };
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
        Ok(())
    }

    fn text(&mut self, text: &PyStr) -> PyResult<()> {
        let vm = self.vm;
        let text = text
            .to_str()
            .ok_or_else(|| vm.new_value_error("a text with a lone surrogate has no form in JSON"))?;
        serde_json::to_writer(&mut *self.out, text).map_err(|error| vm.new_value_error(error.to_string()))
    }
}

/// The value of a JSON text.
///
/// # Errors
/// `ValueError` if it is none.
pub(crate) fn require(vm: &VirtualMachine, bytes: &[u8]) -> PyResult {
    parse(vm, bytes)?.ok_or_else(|| vm.new_value_error("this is no JSON"))
}

/// What a handler gets for a request: nothing for none, the value of a JSON text, and other bytes as they are.
///
/// # Errors
/// As [`parse`].
pub(crate) fn event(vm: &VirtualMachine, request: PyObjectRef) -> PyResult {
    let bytes = rustpython_vm::function::ArgBytesLike::try_from_object(vm, request.clone())?;
    let bytes = bytes.borrow_buf();
    if bytes.is_empty() {
        return Ok(vm.ctx.none());
    }
    Ok(parse(vm, &bytes)?.unwrap_or(request))
}
