//! Registration of host functions as typed closures.

use purlin_abi::host::ValueType;
use wasmtime::{Caller, Linker};

use crate::guest::{CallState, Guest};
use crate::{EngineFault, HostFault};

mod sealed {
    pub trait Sealed {}
    impl Sealed for i32 {}
    impl Sealed for u32 {}
    impl Sealed for i64 {}
    impl Sealed for u64 {}
    impl Sealed for () {}
}

/// A wasm value that a host function takes: 32- and 64-bit integers, signed or not.
pub trait GuestValue: wasmtime::WasmTy + sealed::Sealed + 'static {
    /// Its type in a wasm signature.
    const TYPE: ValueType;
}

/// What a host function gives back: one integer, or nothing.
pub trait GuestResult: wasmtime::WasmRet + sealed::Sealed + 'static {
    /// Its type in a wasm signature.
    const TYPE: Option<ValueType>;
}

macro_rules! guest_values {
    ($($name:ty => $kind:ident),*) => {
        $(
            impl GuestValue for $name {
                const TYPE: ValueType = ValueType::$kind;
            }
            impl GuestResult for $name {
                const TYPE: Option<ValueType> = Some(ValueType::$kind);
            }
        )*
    };
}
guest_values!(i32 => I32, u32 => I32, i64 => I64, u64 => I64);

impl GuestResult for () {
    const TYPE: Option<ValueType> = None;
}

/// A closure that can be registered: `Fn(&mut Guest<'_, T>, integers...) -> Result<R, HostFault>`.
pub trait HostFunction<T: Send + 'static, Params, R>: Send + Sync + 'static {
    /// Wasm types of its parameters.
    const PARAMS: &'static [ValueType];
    /// Wasm type of its result.
    const RESULT: Option<ValueType>;

    #[doc(hidden)]
    fn link(self, linker: &mut Linker<CallState<T>>, module: &str, name: &str) -> wasmtime::Result<()>;
}

macro_rules! host_function {
    ($($arg:ident)*) => {
        impl<T, R, F, $($arg),*> HostFunction<T, ($($arg,)*), R> for F
        where
            T: Send + 'static,
            R: GuestResult,
            $($arg: GuestValue,)*
            F: Fn(&mut Guest<'_, T>, $($arg),*) -> Result<R, HostFault> + Send + Sync + 'static,
        {
            const PARAMS: &'static [ValueType] = &[$($arg::TYPE),*];
            const RESULT: Option<ValueType> = R::TYPE;

            #[allow(non_snake_case, reason = "one name for a parameter and its type")]
            fn link(
                self,
                linker: &mut Linker<CallState<T>>,
                module: &str,
                name: &str,
            ) -> wasmtime::Result<()> {
                linker.func_wrap(
                    module,
                    name,
                    move |caller: Caller<'_, CallState<T>>, $($arg: $arg),*| -> wasmtime::Result<R> {
                        Guest::enter(caller, |guest| self(guest, $($arg),*))
                    },
                )?;
                Ok(())
            }
        }
    };
}

host_function!();
host_function!(A1);
host_function!(A1 A2);
host_function!(A1 A2 A3);
host_function!(A1 A2 A3 A4);
host_function!(A1 A2 A3 A4 A5);
host_function!(A1 A2 A3 A4 A5 A6);
host_function!(A1 A2 A3 A4 A5 A6 A7);
host_function!(A1 A2 A3 A4 A5 A6 A7 A8);
host_function!(A1 A2 A3 A4 A5 A6 A7 A8 A9);
host_function!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10);

/// The name and wasm signature of a registered function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredFunction {
    /// Import module.
    pub module: String,
    /// Import name.
    pub name: String,
    /// Wasm types of the parameters.
    pub params: &'static [ValueType],
    /// Wasm type of the result.
    pub result: Option<ValueType>,
}

/// Collects the functions that guests may import. `T` is what the host keeps for one call.
pub struct HostRegistry<T: Send + 'static> {
    linker: Linker<CallState<T>>,
    functions: Vec<RegisteredFunction>,
    problem: Option<wasmtime::Error>,
}

impl<T: Send + 'static> HostRegistry<T> {
    pub(crate) fn new(engine: &wasmtime::Engine) -> Self {
        Self { linker: Linker::new(engine), functions: Vec::new(), problem: None }
    }

    /// Adds a function under an import module and name. Two functions of one name make the engine refuse to
    /// start.
    pub fn function<Params, R>(
        &mut self,
        module: &str,
        name: &str,
        function: impl HostFunction<T, Params, R>,
    ) -> &mut Self {
        self.functions.push(describe(module, name, &function));
        if let Err(error) = function.link(&mut self.linker, module, name) {
            self.problem.get_or_insert(error);
        }
        self
    }

    pub(crate) fn finish(self) -> Result<(Linker<CallState<T>>, Vec<RegisteredFunction>), EngineFault> {
        match self.problem {
            None => Ok((self.linker, self.functions)),
            Some(error) => Err(EngineFault::setup(error)),
        }
    }
}

fn describe<T, Params, R, F>(module: &str, name: &str, _function: &F) -> RegisteredFunction
where
    T: Send + 'static,
    F: HostFunction<T, Params, R>,
{
    RegisteredFunction {
        module: module.to_owned(),
        name: name.to_owned(),
        params: F::PARAMS,
        result: F::RESULT,
    }
}
