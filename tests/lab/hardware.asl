// What firmware adds to the laboratory's machine where LAB_HARDWARE is set: clocks of its cores that cpufreq may set, and a
// thermal zone that the kernel reads for itself. `vm` compiles it.
DefinitionBlock ("", "SSDT", 2, "SSTS", "LAB", 1)
{
    External (\_SB.CPUS.C000, DeviceObj)
    External (\_SB.CPUS.C001, DeviceObj)

    Scope (\_SB)
    {
        // Setting a clock writes to the port of the power-on self-test, which nobody listens to.
        Name (LPCT, Package (2)
        {
            ResourceTemplate () { Register (SystemIO, 8, 0, 0x80) },
            ResourceTemplate () { Register (SystemIO, 8, 0, 0x80) }
        })
        // MHz, mW, µs, µs, what is written, what is read.
        Name (LPSS, Package (3)
        {
            Package (6) { 2000, 3000, 10, 10, 0, 0 },
            Package (6) { 1500, 2000, 10, 10, 1, 1 },
            Package (6) { 1000, 1000, 10, 10, 2, 2 }
        })

        ThermalZone (LABZ)
        {
            // Tenths of a kelvin: 50 °C, and 105 °C. Tenths of a second: 1 s.
            Method (_TMP) { Return (3232) }
            Name (_CRT, 3782)
            Name (_TZP, 10)
        }
    }

    Scope (\_SB.CPUS.C000)
    {
        Method (_PCT) { Return (\_SB.LPCT) }
        Method (_PSS) { Return (\_SB.LPSS) }
        Name (_PPC, 0)
    }

    Scope (\_SB.CPUS.C001)
    {
        Method (_PCT) { Return (\_SB.LPCT) }
        Method (_PSS) { Return (\_SB.LPSS) }
        Name (_PPC, 0)
    }
}
