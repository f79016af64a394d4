// Lets an exception out of a handler of the C interface, which the header forbids: the worker ends.
#include <aerie.h>

static void handle(aerie_invocation *, void *)
{
    throw 1;
}

int main()
{
    return aerie_serve(handle, nullptr);
}
